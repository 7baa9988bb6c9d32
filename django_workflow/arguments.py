"""Arguments of the public functions that are no texts: whole numbers and ids, refused before anything is done."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_workflow.exceptions import InvalidArgument
from django_workflow.text import shown

#: The largest number that PostgreSQL's bigint holds.
LARGEST = 2**63 - 1


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
