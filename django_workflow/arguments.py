"""Arguments of the public functions that are no texts: numbers, ids and times, refused before anything is done.

A time is a `timedelta`; how long somebody waits may be told in seconds, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django_workflow.exceptions import InvalidArgument
from django_workflow.text import plain, shown

#: The largest number that PostgreSQL's bigint holds.
LARGEST = 2**63 - 1
#: Seconds after which nobody waits any more; no lock and no poll takes an infinite one.
FOREVER = 1e9


def whole(value: Any, what: str, *, least: int = 0, most: int = LARGEST) -> int:
    """Return a whole number; raises `InvalidArgument` for what is none, or beyond its bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(f"{what} takes a whole number, not {shown(value)}")
    if value < least:
        raise InvalidArgument(f"{what} must be at least {least}, not {shown(value)}")
    if value > most:
        raise InvalidArgument(f"{what} must be at most {most}, not {shown(value)}")
    return int(value)


def uuid(value: Any, what: str) -> UUID:
    """Return an id; raises `InvalidArgument` for what is none."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        raise InvalidArgument(f"{what} takes a UUID, not {shown(value)}") from None


def duration(value: Any, what: str) -> timedelta:
    """Return a time; raises `InvalidArgument` for what is none, a number of seconds among them."""
    if not isinstance(value, timedelta):
        raise InvalidArgument(f"{what} takes a timedelta, not {shown(value)}")
    if value < timedelta(0):
        raise InvalidArgument(f"{what} must not be negative, not {value}")
    return value


def patience(value: Any, what: str) -> float | None:
    """Return for how many seconds to wait, None for ever; raises `InvalidArgument` for what is no time."""
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds != seconds:  # noqa: PLR0124  NaN
        raise InvalidArgument(f"{what} takes a timedelta or seconds, not {shown(value)}")
    return float(max(0, min(seconds, FOREVER)))


def moment(value: Any, what: str) -> datetime:
    """Return a point in time; raises `InvalidArgument` for what is none."""
    if not isinstance(value, datetime):
        raise InvalidArgument(f"{what} takes a datetime, not {shown(value)}")
    return value


def items(value: Any, what: str) -> list[Any]:
    """Return what is gone through as a list; raises `InvalidArgument` for a text or a mapping, which are one thing."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise InvalidArgument(f"{what} takes a list, not {shown(value)}")
    return list(value)


def texts(value: Any, what: str) -> list[str]:
    """Return texts as a list; raises `InvalidArgument` for one that is none."""
    return [plain(item, f"each of {what}") for item in items(value, what)]


def by_name(value: Any, what: str) -> dict[str, Any]:
    """Return values by name, None as none; raises `InvalidArgument` for what is no mapping of names."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InvalidArgument(f"{what} takes values by name, not {shown(value)}")
    return dict(value)
