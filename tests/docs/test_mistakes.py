"""What the page on mistakes says is what the program prints."""

from __future__ import annotations

import pytest

from tests.docs.mistakes import mistakes, printed

FOUND = list(mistakes())


@pytest.mark.parametrize("mistake", FOUND, ids=[mistake.title for mistake in FOUND])
def test_a_mistake_prints_what_the_page_says(mistake, tmp_path):
    assert printed(mistake, tmp_path) == mistake.printed


def test_every_section_of_the_page_shows_what_is_printed():
    assert len(FOUND) >= 6
    assert all(mistake.printed.strip() for mistake in FOUND)
