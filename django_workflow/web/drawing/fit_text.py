"""Texts cut to the width they have. Pure, no Django."""

from __future__ import annotations

from unicodedata import east_asian_width


def fitted(text: str, length: int) -> str:
    """Return text cut to a width: wide characters, as Chinese ones, count twice."""
    width = 0
    for place, character in enumerate(text):
        width += 2 if east_asian_width(character) in "WF" else 1
        if width > length:
            return text[: max(1, place - 1)].rstrip() + "…"
    return text
