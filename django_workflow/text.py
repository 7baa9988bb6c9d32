"""Text that people and handlers say, as it can be stored.

What arrives as text need not be an exact `str`: a member of an enumeration, a SafeString and a lazy translation say
their text by other ways than `str()`. PostgreSQL refuses NUL and lone surrogates, and columns have widths.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from django_workflow.exceptions import InvalidArgument

#: Widths of what people say: a reason, who does something, a title.
REASON, AUTHOR, TITLE = 2_000, 150, 200


def plain(value: Any, what: str) -> str:
    """Return text as an exact `str`: a member of an enumeration as its value, a lazy translation in today's language.

    what: names the argument in the error, as "by=".
    Raises `InvalidArgument` for what is no text.
    """
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if _is_lazy(value):
        return plain(str(value), what)
    raise InvalidArgument(f"{what} takes text, not {shown(value)}")


def said(value: Any, what: str, most: int) -> str:
    """Return a remark as it can be stored: cut after `most` characters, with � for what PostgreSQL refuses."""
    return storable(plain(value, what))[:most]


def remarks(reason: Any, by: Any) -> tuple[str, str]:
    """Return why somebody does something, and who, as they can be stored."""
    return said(reason, "reason=", REASON), said(by, "by=", AUTHOR)


def spoken(value: Any, most: int) -> str:
    """Return what a handler says as it can be stored, whatever it is: a handler's work is not lost for its words."""
    try:
        text = plain(value, "") if isinstance(value, str) else str(value)
    except Exception as error:
        text = f"<its text cannot be made: {type(error).__name__}>"
    return storable(plain(text, ""))[:most]


def exact(value: Any, what: str, most: int, *, least: int = 0) -> str:
    """Return a text by which something is found again; raises `InvalidArgument` where it cannot be stored as it is."""
    text = plain(value, what)
    if not is_storable(text):
        raise InvalidArgument(
            f"{what} {shown(text)} cannot be stored: it has a NUL character or half of a surrogate pair"
        )
    if not least <= len(text) <= most:
        raise InvalidArgument(f"{what} has {least} to {most} characters, not {len(text):,}")
    return text


def storable(text: str) -> str:
    """Return text with � for what PostgreSQL refuses: NUL and lone surrogates."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode("utf-8")


def is_storable(text: str) -> bool:
    """Say whether a text can be stored: PostgreSQL takes neither NUL nor half of a surrogate pair."""
    if text.isascii():
        return "\x00" not in text
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text)


def in_one_line(text: str) -> str:
    """Return text for a line of a log: what would begin another line, or move a terminal's cursor, is escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(value: Any) -> str:
    """Return a value as errors show it: not all of a long one, and something for one that cannot be shown."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return in_one_line(text if len(text) <= 80 else f"{text[:80]}…")


def several(values: Any, what: str) -> list[str]:
    """Return one text or several as exact ones; raises `InvalidArgument` for what is none."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        values = [values]
    return [plain(value, what) for value in values]


def _is_lazy(value: Any) -> bool:
    # not imported: definitions know nothing of Django, and where it is not loaded nobody made one
    functional = sys.modules.get("django.utils.functional")
    return functional is not None and isinstance(value, functional.Promise)
