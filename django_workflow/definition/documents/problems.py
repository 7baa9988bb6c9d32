"""What is wrong with a document, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

#: Keys and indexes that lead to a part of a document.
Path = tuple[str | int, ...]


class Problem(str):
    """A sentence with its line, as `DefinitionError.problems` holds them.

    line, column: where in the text, from 1. place: which part, as "step 'probe': next, transition 2".
    message: what is wrong there.
    """

    __slots__ = ("column", "line", "message", "place")

    line: int
    column: int
    place: str
    message: str

    def __new__(cls, message: str, *, line: int, column: int = 1, place: str = "document") -> Self:
        """Make the sentence of its parts."""
        self = super().__new__(cls, f"line {line}: {place}: {message}")
        self.line, self.column, self.place, self.message = line, column, place, message
        return self

    def as_data(self) -> dict[str, Any]:
        """Return its parts, for programs."""
        return {"line": self.line, "column": self.column, "place": self.place, "message": self.message}


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem whose line is not looked up yet.

    path: the part of the document. message: what is wrong there.
    """

    path: Path
    message: str


def place_of(path: Path) -> str:
    """Name a part of a document as validation does: its step, and the transition."""
    if len(path) < 2 or path[0] != "steps":
        return "flow"
    step = f"step {path[1]!r}"
    if len(path) > 3 and path[2] == "next" and isinstance(path[3], int):
        return f"{step}: next, transition {path[3] + 1}"
    return step
