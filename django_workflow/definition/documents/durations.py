"""Times as people write them: `5s`, `1h30m`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

#: Seconds of each unit, largest first; `min` and `w` are read, never written.
UNITS: Final = {
    "w": Decimal(604_800),
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "min": Decimal(60),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
WRITTEN: Final = ("d", "h", "m", "s", "ms")
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?(ms|min|[wdhms]) ?")
_WHOLE = re.compile(f"(?:{_PART.pattern})+", re.ASCII)
#: A text that was meant as a time: no expression begins like this.
_LIKE_ONE = re.compile(r"(?:\s*\d[\d.]*\s*[A-Za-z]+)+\s*\Z", re.ASCII)
RULE: Final = "a time such as 5s, 2m, 1h30m or 7d, or a number of seconds"


def read(text: str) -> timedelta | None:
    """Return the time a text says; None where it says none. Raises `OverflowError` for more than time can be."""
    if not _WHOLE.fullmatch(text):
        return None
    seconds = sum((Decimal(count) * UNITS[unit] for count, unit in _PART.findall(text)), Decimal(0))
    return timedelta(seconds=float(seconds))


def looks_like_one(text: str) -> bool:
    """Say whether a text was meant as a time, rightly written or not."""
    return _LIKE_ONE.match(text) is not None


def write(seconds: float) -> str | float:
    """Return seconds as people write them; as they are where units would not give them back."""
    exact = Decimal(repr(seconds))
    if exact <= 0 or exact % UNITS["ms"]:
        return seconds
    parts = []
    for unit in WRITTEN:
        count, exact = divmod(exact, UNITS[unit])
        if count:
            parts.append(f"{int(count)}{unit}")
    text = "".join(parts)
    try:
        return text if (time := read(text)) is not None and time.total_seconds() == seconds else seconds
    except OverflowError:
        return seconds
