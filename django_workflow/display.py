"""How every interface shows lengths of time, and a text in the width that there is. Pure, no Django.

A length of time that was measured has its two largest units, `1 min 05 s`; one that somebody chose is exact, `90 s`.
How long ago something was has one unit, `5 min ago`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from unicodedata import combining, east_asian_width

ELLIPSIS: Final = "…"
#: Units by seconds, largest first.
UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
#: From here on a date says more than how many days ago it was.
LONG_AGO: Final = timedelta(days=30)


def duration(value: timedelta | float | None) -> str:
    """Return a measured length of time (a timedelta or seconds) in its two largest units."""
    if value is None:
        return "–"
    seconds = max(0.0, value.total_seconds() if isinstance(value, timedelta) else float(value))
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24:02} h"


def exact(value: timedelta | float) -> str:
    """Return a length of time that somebody chose, in the largest unit of which it is a whole number."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    unit, size = next(((unit, size) for unit, size in UNITS if seconds >= size and not seconds % size), ("s", 1))
    return f"{seconds / size:,.15g} {unit}"


def ago(time: datetime, now: datetime) -> str:
    """Return how long ago a time is, or in how long it will be; after a month its date."""
    away = now - time
    if abs(away) > LONG_AGO:
        return time.date().isoformat()
    seconds = abs(away.total_seconds())
    if seconds < 1:
        return "just now"
    unit, size = next((unit, size) for unit, size in UNITS if seconds >= size)
    count = f"{int(seconds // size)} {unit}"
    return f"{count} ago" if away > timedelta(0) else f"in {count}"


def width(text: str) -> int:
    """Return how many columns a text takes: wide characters, as Chinese ones, take two."""
    return sum(map(_width, text))


def cut(text: str, most: int) -> str:
    """Return a text that takes at most so many columns, with an ellipsis where something is missing."""
    taken = 0
    end = 0  # of what leaves room for the ellipsis
    for place, character in enumerate(text):
        taken += _width(character)
        if taken < most:
            end = place + 1
        elif taken > most:
            return text[:end].rstrip() + ELLIPSIS
    return text


def _width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
