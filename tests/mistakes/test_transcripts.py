"""What terminals say of typical mistakes is what the page says; with WRITE_TRANSCRIPTS=1 it is written anew."""

from __future__ import annotations

import os
import re

import pytest

from tests.docs.pages import DOCS
from tests.mistakes.cases import CASES
from tests.mistakes.site import Site

PAGE = DOCS / "howto" / "when-something-is-wrong.md"
#: The transcript of a mistake: a block of the shell behind its name.
TRANSCRIPT = re.compile(
    r"<!-- mistake: (?P<name>[\w-]+) -->\n+```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def transcripts() -> dict[str, str]:
    """Return the transcripts of the page, by the name of the mistake."""
    return {found["name"]: found["text"] for found in TRANSCRIPT.finditer(PAGE.read_text())}


def played(site: Site, name: str, text: str) -> str:
    """Make a mistake, execute the commands of a transcript, and return what it is now."""
    CASES[name](site)
    lines = []
    for line in text.splitlines():
        if line.startswith("$ "):
            lines += [line, *site.shell(line[2:]).splitlines()]
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture
def site(tmp_path, transactional_db):
    made = Site(tmp_path)
    yield made
    made.close()


def test_every_mistake_has_a_transcript():
    assert set(transcripts()) == set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_the_terminal_says_what_the_page_says(site, name):
    text = transcripts()[name]
    now = played(site, name, text)
    if "WRITE_TRANSCRIPTS" in os.environ:
        PAGE.write_text(PAGE.read_text().replace(text, now))
        return
    assert now == text
