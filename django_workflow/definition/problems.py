"""What is wrong with a definition: a code, the part it is about, and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from django_workflow.exceptions import DefinitionError

#: Keys and indexes that lead to a part of a definition as a document writes it: `("steps", "charge", "retry", "base")`.
Path = tuple[str | int, ...]

#: What kind of problem it is; `docs/reference/documents.md` describes each.
Code = Literal[
    "bad_expression",
    "bad_name",
    "bad_parameter",
    "bad_value",
    "conflict",
    "cycle",
    "depends_on_itself",
    "duplicate",
    "endless_loop",
    "incomplete_join",
    "invalid",
    "join_too_large",
    "missing",
    "name_taken",
    "never_begins",
    "no_entry",
    "not_allowed",
    "not_supported",
    "too_many",
    "unknown_function",
    "unknown_handler",
    "unknown_option",
    "unknown_step",
    "unreachable",
    "unreadable",
]


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Problem(str):
    """A problem as `DefinitionError.problems` holds it: a sentence for people that has its parts as fields."""

    __slots__ = ("code", "column", "line", "message", "path", "place")

    code: Code
    path: Path
    #: What is wrong there, without the place.
    message: str
    #: The part in words, such as "step 'probe': next, transition 2".
    place: str
    #: Where the part stands in the text of a document, from 1; None where there is no text.
    line: int | None
    column: int | None

    def __new__(
        cls,
        code: Code,
        path: Path,
        message: str,
        *,
        place: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> Self:
        """Make the sentence of its parts.

        place: by default the words for `path`.
        """
        place = place_of(path) if place is None else place
        parts = ([] if line is None else [f"line {line}"]) + ([place] if place else [])
        self = super().__new__(cls, ": ".join([*parts, message]))
        values = {"code": code, "path": path, "message": message, "place": place, "line": line, "column": column}
        for name, value in values.items():
            object.__setattr__(self, name, value)
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.code, self.path, self.message), {"place": self.place, "line": self.line, "column": self.column}

    def __getstate__(self) -> None:
        """Return nothing: a copy is made of its arguments."""

    @property
    def step(self) -> str | None:
        """The step it is about, None where it is about the flow."""
        return str(self.path[1]) if len(self.path) > 1 and self.path[0] == "steps" else None

    @property
    def position(self) -> tuple[int, int]:
        """Line and column, by which problems are sorted; what has no line comes first."""
        return self.line or 0, self.column or 0

    def at(self, line: int, column: int, *, place: str | None = None) -> Problem:
        """Return the problem with its line in a text."""
        place = self.place if place is None else place
        return Problem(self.code, self.path, self.message, place=place, line=line, column=column)

    def as_data(self) -> dict[str, Any]:
        """Return its parts, for programs."""
        return {
            "code": self.code,
            "path": list(self.path),
            "line": self.line,
            "column": self.column,
            "place": self.place,
            "message": self.message,
        }


class Report:
    """Takes the problems of one part of a definition."""

    def __init__(self, problems: list[Problem], path: Path = ()) -> None:
        self._problems = problems
        self._path = path

    def __call__(self, code: Code, path: Path, message: str) -> None:
        """Add a problem.

        path: from the part on.
        """
        self._problems.append(Problem(code, (*self._path, *path), message))

    def within(self, *path: str | int) -> Report:
        """Return what takes the problems of a part of this part."""
        return Report(self._problems, (*self._path, *path))


def place_of(path: Path) -> str:
    """Return the words for a part of a definition: its step and transition, else the flow."""
    if len(path) < 2 or path[0] != "steps":
        return "flow"
    step = f"step {path[1]!r}"
    if len(path) > 3 and path[2] == "next" and isinstance(path[3], int):
        return f"{step}: next, transition {path[3] + 1}"
    return step


def problems_of(error: DefinitionError) -> list[Problem]:
    """Return the problems of an error with their fields; one that is only a sentence is about the flow."""
    return [item if isinstance(item, Problem) else Problem("invalid", (), item, place="") for item in error.problems]
