"""What somebody meant who wrote a name that there is not."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

#: Names of which an error lists all.
FEW = 10
#: Names among which one that is alike is looked for.
MOST_COMPARED = 200


class _Budget(threading.local):
    """How often this thread may still look for what was meant; None is as often as it likes."""

    left: int | None = None


_budget = _Budget()


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Meanwhile, look only so often for what was meant: a document may have thousands of mistakes."""
    before, _budget.left = _budget.left, count
    try:
        yield
    finally:
        _budget.left = before


def nearest(word: Any, known: Iterable[Any], likeness: float = 0.65) -> str | None:
    """Return the known name that is spelt much like `word`, None where there is none.

    likeness: from 0 to 1, as `difflib` counts it.
    """
    if not isinstance(word, str) or _budget.left == 0:
        return None
    if _budget.left is not None:
        _budget.left -= 1
    # what is longer or shorter by half is another word: comparing takes long, and a document may have many mistakes
    around = range(len(word) // 2, 2 * len(word) + 1)
    names = [name for name in known if isinstance(name, str) and len(name) in around and name != word]
    close = get_close_matches(word.lower(), names, n=1, cutoff=likeness) if len(names) <= MOST_COMPARED else []
    return close[0] if close else None


def guess(word: Any, known: Iterable[Any]) -> str:
    """Return what an error adds to an unknown name: the name that was meant, or nothing."""
    meant = nearest(word, known)
    return "" if meant is None else f"; did you mean {meant!r}?"


def guess_or_list(word: Any, known: Iterable[Any]) -> str:
    """Return what an error adds to an unknown name: the name that was meant, else the names that there are."""
    names = sorted(name for name in known if isinstance(name, str))
    if found := guess(word, names):
        return found
    return f"; there are {', '.join(names)}" if 0 < len(names) <= FEW else ""
