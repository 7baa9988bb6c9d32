"""Tables, times and durations as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_workflow.management.workflow.tables import Cell, Column, ago, cut, duration, printable, render, wide

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COLUMNS = (Column("NAME", is_flexible=True), Column("COUNT", is_right=True), Column("NOTE", is_flexible=True))


def plain(text, style):
    return text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "now"), (5, "5 s ago"), (59.9, "59 s ago"), (180, "3 min ago"), (7_199, "1 h ago"),
        (86_400 * 2, "2 d ago"), (-300, "in 5 min"), (86_400 * 40, "2026-01-20"),
    ],
)  # fmt: skip
def test_time_is_told_from_now(seconds, told):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0.00 s"), (0.256, "0.26 s"), (42.4, "42 s"),
        (59.7, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7_200, "2 h"),
        (86_400 + 61, "1 d"), (90_061, "1 d 1 h"), (86_400 * 30, "30 d"),
    ],
)  # fmt: skip
def test_duration_has_two_units_at_most(seconds, told):
    assert duration(timedelta(seconds=seconds)) == told


def test_columns_are_aligned_and_numbers_to_the_right():
    lines = render(COLUMNS, [("a", "5", "x"), ("longer", "1,200", "")], width=None, paint=plain)
    assert lines == ["NAME    COUNT  NOTE", "a           5  x", "longer  1,200  -"]


def test_flexible_columns_are_cut_to_the_terminals_width():
    lines = render(COLUMNS, [("n" * 60, "5", "m" * 60)], width=50, paint=plain)
    assert [wide(line) for line in lines[1:]] == [50]
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


def test_wide_signs_count_twice():
    assert wide("日本") == 4
    assert cut("日本語テキスト", 7) == "日本語…"
