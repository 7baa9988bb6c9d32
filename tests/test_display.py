"""Times and texts as every interface shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from django_workflow.display import ago, cut, duration, exact, width

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "just now"), (5, "5 s ago"), (59.9, "59 s ago"), (180, "3 min ago"), (7_199, "1 h ago"),
        (86_400 * 2, "2 d ago"), (-300, "in 5 min"), (86_400 * 40, "2026-01-20"),
    ],
)  # fmt: skip
def test_time_is_told_from_now(seconds, words):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"), (0.256, "256 ms"), (1, "1.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"), (172_799, "47 h 59 min"), (86_400 * 2 + 3600, "2 d 01 h"), (None, "–"),
    ],
)  # fmt: skip
def test_measured_time_has_its_two_largest_units(seconds, words):
    assert duration(seconds) == words
    assert seconds is None or duration(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.5, "0.5 s"), (5, "5 s"), (60, "1 min"), (90, "90 s"), (5_400, "90 min"), (7_200, "2 h"),
     (86_400, "1 d"), (86_401, "86,401 s")],
)  # fmt: skip
def test_chosen_time_is_exact(seconds, words):
    assert exact(seconds) == exact(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize(
    ("text", "most", "shown"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("much too long", 8, "much to…"),
        ("words end here", 7, "words…"),
        ("漢字漢字漢字", 6, "漢字…"),
        ("日本語テキスト", 7, "日本語…"),
        ("e\N{COMBINING ACUTE ACCENT}tude", 5, "e\N{COMBINING ACUTE ACCENT}tude"),
        ("", 3, ""),
    ],
)
def test_text_is_cut_to_its_width(text, most, shown):
    assert cut(text, most) == shown
    assert width(shown) <= most
