"""Tables as a person reads them."""

from __future__ import annotations

from django_workflow.display import width
from django_workflow.management.workflow.tables import Cell, Column, printable, render

COLUMNS = (Column("NAME", is_flexible=True), Column("COUNT", is_right=True), Column("NOTE", is_flexible=True))


def plain(text, style):
    return text


def test_columns_are_aligned_and_numbers_to_the_right():
    lines = render(COLUMNS, [("a", "5", "x"), ("longer", "1,200", "")], width=None, paint=plain)
    assert lines == ["NAME    COUNT  NOTE", "a           5  x", "longer  1,200  -"]


def test_flexible_columns_are_cut_to_the_terminals_width():
    lines = render(COLUMNS, [("n" * 60, "5", "m" * 60)], width=50, paint=plain)
    assert [width(line) for line in lines[1:]] == [50]
    assert lines[1].count("…") == 2


def test_column_without_a_text_is_left_out_on_a_terminal_only():
    assert render(COLUMNS, [("a", "5", "")], width=80, paint=plain) == ["NAME  COUNT", "a         5"]
    assert render(COLUMNS, [("a", "5", "")], width=None, paint=plain)[1].split() == ["a", "5", "-"]


def test_colours_do_not_count_as_width():
    rows = [(Cell("a", "ERROR"), "5", "x"), ("longer", "5", "x")]
    lines = render(COLUMNS, rows, width=80, paint=lambda text, style: f"<{text}>" if style == "ERROR" else text)
    assert lines[1] == "<a>           5  x"


def test_text_cannot_move_the_cursor_or_break_the_line():
    assert printable("red \x1b[31m text\r\n  and\tmore") == "red  [31m text and more"
