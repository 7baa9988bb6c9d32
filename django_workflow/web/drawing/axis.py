"""The time axis of a timeline: where it begins, ends, and has ticks. Pure, no Django."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

#: Distances of ticks, in seconds.
STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800),
)
#: Most ticks besides the one at the beginning.
MOST_TICKS = 6
#: The shortest time an axis spans.
SHORTEST = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis: where, in percent, and what it says."""

    x: float
    label: str


class Axis:
    """The time from `begin` to `end`, as percent of a width."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.end = max(end, begin + SHORTEST)
        self._seconds = (self.end - begin).total_seconds()

    def x(self, when: datetime) -> float:
        """Return where a time is, 0 to 100."""
        share = (when - self.begin).total_seconds() / self._seconds
        return round(100 * min(1.0, max(0.0, share)), 3)

    def ticks(self) -> list[Tick]:
        """Return marks at round distances from the beginning."""
        step = next((step for step in STEPS if self._seconds / step <= MOST_TICKS), None)
        if step is None:
            step = STEPS[-1] * -(-self._seconds // (MOST_TICKS * STEPS[-1]))
        count = int(self._seconds / step + 1e-9)
        # no label at the very end: it would be cut
        places = [number * step for number in range(count + 1) if number * step <= self._seconds * 0.96]
        return [Tick(round(100 * place / self._seconds, 3), label_of(place)) for place in places]


def label_of(seconds: float) -> str:
    """Return a tick's label, with as many digits as it needs."""
    if seconds == 0:
        return "0"
    if seconds < 1:
        return f"{seconds * 1000:.10g} ms"
    if seconds < 120:
        return f"{seconds:.10g} s"
    if seconds < 7200:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    if seconds < 172800:
        hours, rest = divmod(round(seconds), 3600)
        return f"{hours} h" + (f" {rest // 60} min" if rest else "")
    return f"{seconds / 86400:.3g} d"
