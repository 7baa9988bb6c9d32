"""Sets of rows by the names of their columns: as a statement takes them, and as it returns them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import signature
from typing import Any

#: How long a line of expressions is, and what is between two.
WIDTH, INDENT = 80, "\n           "
#: The columns of a set, a list of each, in the order in which its statement takes them.
Lists = list[list[Any]]


class Columns:
    """The columns of a set of rows that a statement takes: their names, types and order, written once.

    `{columns}` in a statement's text is the set, and `{columns.numbered}` the set with a last column `place`, which
    counts from 1. Its parameters are what one of the methods returns. alias: the set's name in the statement.
    """

    #: Returns a row from its columns by name, for `params`.
    row: Callable[..., tuple[Any, ...]]
    #: Returns the columns of a sequence of objects, from their attributes by name.
    of: Callable[[Sequence[Any]], Lists]

    def __init__(self, alias: str, /, **types: str) -> None:
        self.names = tuple(types)
        arrays, names = _listed(f"%s::{kind}[]" for kind in types.values()), _listed(types)
        gap = " " if len(arrays) + len(names) < WIDTH else "\n         "
        self._text = f"unnest({arrays}){gap}AS {alias}({names})"
        self.numbered = f"unnest({arrays}){gap}WITH ORDINALITY AS {alias}({names}, place)"
        # written for these names, as dataclasses are: what looks names up takes three times as long, for each row
        self.row = eval(f"lambda *, {', '.join(types)}: ({', '.join(types)},)")  # noqa: S307  names of columns
        reads = ", ".join(f"[item.{name} for item in items]" for name in types)
        self.of = eval(f"lambda items: [{reads}]")  # noqa: S307  names of columns

    def __str__(self) -> str:
        return self._text

    def params(self, rows: Sequence[tuple[Any, ...]]) -> Lists:
        """Return the columns of rows that `row` has made."""
        return [list(column) for column in zip(*rows, strict=True)]

    def lists(self, **columns: Sequence[Any]) -> Lists:
        """Return columns that are at hand, by name."""
        assert columns.keys() == set(self.names), f"{', '.join(columns)} given for {', '.join(self.names)}"
        return [list(columns[name]) for name in self.names]


def select(make: Callable[..., object], **expressions: str) -> str:
    """Return a list of expressions, to be selected or returned, of which `make(*row)` takes each by its name."""
    names = list(signature(make).parameters)[: len(expressions)]
    if set(names) != expressions.keys():
        raise TypeError(f"{', '.join(expressions)} given for {', '.join(names)}")
    return _listed(expressions[name] for name in names)


def _listed(expressions: Iterable[str]) -> str:
    """Return expressions in lines that people can read: docs show statements, and logs of the database."""
    lines = [""]
    for expression in expressions:
        if len(lines[-1]) + len(expression) > WIDTH:
            lines.append("")
        lines[-1] += f"{expression}, "
    return INDENT.join(map(str.rstrip, lines)).removesuffix(",")
