"""Text for people in aligned tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django_workflow import display

GAP = "  "
#: A column is not made narrower than this.
NARROWEST = 8
#: What stands in an empty cell where no terminal reads, so that every line has as many words.
EMPTY = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and how it is coloured: the name of a style of Django's palette."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading.

    is_right: aligned to the right, for numbers. is_flexible: cut where the line would be too long.
    """

    heading: str
    is_right: bool = False
    is_flexible: bool = False


Paint = Callable[[str, str], str]


def render(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell | str]], *, width: int | None, paint: Paint
) -> list[str]:
    """Return the lines of a table.

    width: of the terminal; None where there is none: then nothing is cut and empty cells are marked.
    paint: colours a text by the name of a style.
    """
    cells = [[_cell(value, is_marked=width is None) for value in row] for row in rows]
    if width is not None:
        shown = [place for place in range(len(columns)) if any(row[place].text for row in cells)]
        columns = [columns[place] for place in shown]
        cells = [[row[place] for place in shown] for row in cells]
    widths = [
        max(display.width(column.heading), *(display.width(row[place].text) for row in cells))
        for place, column in enumerate(columns)
    ]
    if width is not None:
        _fit(columns, widths, width)
    heading = [Cell(column.heading, "MIGRATE_LABEL") for column in columns]
    return [_line(columns, widths, row, paint) for row in [heading, *cells]]


def _cell(value: Cell | str, *, is_marked: bool) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    text = printable(cell.text)
    return Cell(text or (EMPTY if is_marked else ""), cell.style)


def _fit(columns: Sequence[Column], widths: list[int], width: int) -> None:
    """Take from the widest flexible column until the line fits."""
    flexible = [place for place, column in enumerate(columns) if column.is_flexible]
    while flexible and sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widest = max(flexible, key=lambda place: widths[place])
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell], paint: Paint) -> str:
    parts = []
    for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
        text = display.cut(cell.text, widths[place])
        padding = " " * (widths[place] - display.width(text))
        if place == len(columns) - 1 and not column.is_right:
            padding = ""
        coloured = paint(text, cell.style)
        parts.append(padding + coloured if column.is_right else coloured + padding)
    return GAP.join(parts).rstrip()


def printable(text: str) -> str:
    """Return a text in one line and without signs that would move a terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() else " " for sign in re.sub(r"\s*\n\s*", " ", text))
