"""The picture of how many runs end: a bar per minute of the last hour."""

from __future__ import annotations

from dataclasses import dataclass

from django_workflow.read.counts import MINUTES, Throughput

#: Size of the picture, and the room between its bars.
WIDTH, HEIGHT, GAP = 360.0, 48.0, 1.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One minute in the picture."""

    x: float
    y: float
    height: float


def bars(throughput: Throughput) -> list[Bar]:
    """Return the bars of the picture."""
    step = WIDTH / MINUTES
    found = []
    for minute, number in sorted(throughput.per_minute.items()):
        place = MINUTES - 1 - (throughput.this_minute - minute)
        if 0 <= place < MINUTES:
            height = max(1.5, HEIGHT * number / throughput.peak)
            found.append(Bar(round(place * step, 2), round(HEIGHT - height, 2), round(height, 2)))
    return found
