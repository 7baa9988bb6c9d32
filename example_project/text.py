"""Words and tables for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

INDENT = "  "


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows in aligned columns; a heading that starts with ">" aligns its column to the right."""
    names = [heading.removeprefix(">") for heading in headings]
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    is_right = [heading.startswith(">") for heading in headings]
    widths = [max(len(row[column]) for row in [names, *cells]) for column in range(len(names))]
    lines = [names, ["-" * width for width in widths], *cells]
    return "\n".join(
        (
            INDENT
            + "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, is_right, strict=True)
            )
        ).rstrip()
        for line in lines
    )


def shortened(text: str, limit: int) -> str:
    """Return the first line of a text, cut where it is longer than `limit`."""
    line = text.partition("\n")[0]
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def megabytes(size: int) -> str:
    """Return a number of bytes in megabytes."""
    return f"{size / 1_000_000:,.1f} MB"


def seconds(time: timedelta | None) -> str:
    """Return a time in seconds, with the milliseconds."""
    return "" if time is None else f"{time.total_seconds():.3f} s"
