"""What terminals say of typical mistakes is what the page says; with WRITE_TRANSCRIPTS=1 it is written anew."""

from __future__ import annotations

import os
import re

import pytest

from tests.docs.pages import MISTAKES as PAGE
from tests.docs.pages import blocks
from tests.mistakes.cases import CASES
from tests.mistakes.site import Site

#: The transcript of a mistake: a block of the shell behind its name.
TRANSCRIPT = re.compile(
    r"<!-- mistake: (?P<name>[\w-]+) -->\n+```console\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def transcripts() -> dict[str, str]:
    """Return the transcripts of the page, by the name of the mistake."""
    return {found["name"]: found["text"] for found in TRANSCRIPT.finditer(PAGE.read_text())}


def write_files(site: Site, name: str) -> None:
    """Write the files that the section of a mistake shows."""
    text = PAGE.read_text()
    marked = text.index(f"<!-- mistake: {name} -->")
    begin, end = (text.count("\n", 0, place) + 1 for place in (text.rindex("\n## ", 0, marked) + 1, marked))
    for block in blocks(PAGE):
        if begin < block.line < end and "caption" in block.options:
            file, _, where = block.options["caption"].partition(", ")
            shown = block.text.lstrip("\n")
            site.write(file, f"{(site.folder / file).read_text()}\n\n{shown}" if where else shown)


def played(site: Site, name: str, text: str) -> str:
    """Make a mistake, execute the commands of a transcript, and return what it is now."""
    CASES[name](site)
    write_files(site, name)
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
        head = f"<!-- mistake: {name} -->\n\n```console\n"
        PAGE.write_text(PAGE.read_text().replace(head + text, head + now))
        return
    assert now == text
