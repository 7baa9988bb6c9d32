"""Where expressions stand in a text, found in one pass: a pattern looks for an end from each sign that has none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: What an expression begins with, and what it ends with.
Pairs = tuple[tuple[str, str], ...]

YAQL: Final[Pairs] = (("<%", "%>"),)
JINJA: Final[Pairs] = (("{{", "}}"), ("{%", "%}"))
#: What may stand in a line of parameters.
VALUES: Final[Pairs] = (*YAQL, JINJA[0])


class Marked:
    """A text whose expressions are looked for from its begin to its end; no part of it is searched twice."""

    def __init__(self, text: str, pairs: Pairs) -> None:
        self.text = text
        self._pairs = pairs
        #: Where each closing sign comes next; -1 where none is left.
        self._closed: dict[str, int] = {}

    def end(self, place: int) -> int | None:
        """Return where the expression ends that begins at a place, None where none does; no place before the last."""
        for begin, close in self._pairs:
            if self.text.startswith(begin, place):
                return self._end(close, place + len(begin))
        return None

    @property
    def is_over(self) -> bool:
        """Whether no closing sign is left, so that nothing more can be found."""
        return all(self._closed.get(close) == -1 for _, close in self._pairs)

    def _end(self, close: str, begin: int) -> int | None:
        found = self._closed.get(close, 0)
        if 0 <= found < begin:
            found = self._closed[close] = self.text.find(close, begin)
        return None if found < 0 else found + len(close)


def spans(text: str, pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Yield where each expression begins and ends."""
    marked, place = Marked(text, pairs), 0
    for found in _begins(pairs).finditer(text):
        begin = found.start()
        end = marked.end(begin) if begin >= place else None
        if end is not None:
            yield begin, end
            place = end
        elif marked.is_over:
            return


def _begins(pairs: Pairs) -> re.Pattern[str]:
    # it looks ahead, so that one sign may begin within another
    return re.compile("(?=" + "|".join(re.escape(begin) for begin, _ in pairs) + ")")
