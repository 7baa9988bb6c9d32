"""Small builders of docutils nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from docutils import nodes

Cell = str | Sequence[nodes.Node]


def inline(text: str) -> list[nodes.Node]:
    """Return text with `code` between backticks as nodes."""
    parts: list[nodes.Node] = []
    for place, part in enumerate(re.split(r"`([^`]+)`", text)):
        if part:
            parts.append(nodes.literal(text=part) if place % 2 else nodes.Text(part))
    return parts


def paragraph(text: str) -> nodes.paragraph:
    """Return a paragraph."""
    return nodes.paragraph("", "", *inline(text))


def bullets(items: Sequence[str]) -> nodes.bullet_list:
    """Return a list of short texts."""
    return nodes.bullet_list("", *(nodes.list_item("", paragraph(item)) for item in items))


def code(text: str, language: str) -> nodes.literal_block:
    """Return a highlighted block."""
    return nodes.literal_block(text, text, language=language)


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> nodes.table:
    """Return a table; cells are texts with backticks, or nodes."""
    group = nodes.tgroup(cols=len(head))
    for column in zip(head, *rows, strict=True):
        group += nodes.colspec(colwidth=min(60, max(len(cell) for cell in column if isinstance(cell, str))))
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    found = nodes.table("", group, classes=["docutils", "align-default"])
    found["classes"].append("colwidths-auto")
    return found


def _row(cells: Sequence[Cell]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *_nodes(cell))) for cell in cells))


def _nodes(cell: Cell) -> Sequence[nodes.Node]:
    return inline(cell) if isinstance(cell, str) else cell
