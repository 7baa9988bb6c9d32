"""What somebody meant who wrote a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

#: Names of which an error lists all.
FEW = 10
#: Names among which one that is alike is looked for.
MOST_COMPARED = 500


def nearest(word: Any, known: Iterable[Any], likeness: float = 0.65) -> str | None:
    """Return the known name that is spelt much like `word`, None where there is none.

    likeness: from 0 to 1, as `difflib` counts it.
    """
    if not isinstance(word, str):
        return None
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
