"""The pages of the documentation and what in them can be executed.

A page's blocks run in order and share one namespace:

* ```python blocks are executed; functions called `test_…` are called afterwards;
* ```pycon blocks are executed and their output is compared, as by doctest;
* `<!-- setup … -->` holds Python that is executed but not shown, such as stand-ins for the reader's modules;
* ```console blocks after `<!-- executed -->` are executed, and what they show is compared; the dictionary `ids` has the
  real run for each id that the page shows;
* `<!-- not executed -->` before a block leaves it out. Keep these rare.

Pages that make a project, as the tutorial, are followed as a whole: `FOLLOWED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
DOCUMENTS = DOCS / "howto" / "documents.md"
MISTAKES = DOCS / "howto" / "when-something-is-wrong.md"
#: Pages that tests follow word by word in projects of their own (test_tutorial.py, tests/mistakes,
#: tests/live/test_howto.py).
FOLLOWED = (TUTORIAL, DOCUMENTS, MISTAKES, DOCS / "howto" / "live-pages.md")

BLOCK = re.compile(
    r"^<!--\ setup\n(?P<setup>.*?)^-->$"
    r"|^(?:<!--\ (?P<mark>(?:not\ )?executed)\ -->\n+)?^(?P<fence>`{3,})(?P<head>[^\n`]*)\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language or directive, options, text, and the line its text begins at."""

    page: Path
    line: int
    kind: str
    argument: str
    options: dict[str, str]
    text: str
    is_executed: bool
    is_transcript: bool = False

    @property
    def place(self) -> str:
        """Where the block stands."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return all pages."""
    found = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
    return [ROOT / "README.md", *found]


def blocks(page: Path) -> Iterator[Block]:
    """Return the blocks of a page, hidden setup included, in order."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        line = text[: match.start("setup") if match["setup"] is not None else match.start("body")].count("\n") + 1
        if match["setup"] is not None:
            yield Block(page, line, "python", "", {}, match["setup"], is_executed=True)
            continue
        kind, argument = re.fullmatch(r"\{?([\w-]*)\}?\s*(.*)", match["head"].strip()).groups()
        body = match["body"]
        options = {}
        while option := re.match(r":([\w-]+):[ ]*(.*)\n", body):
            options[option[1]] = option[2]
            body = body[option.end() :]
            line += 1
        if kind == "code-block":
            kind, argument = argument, ""
        is_executed, is_transcript = match["mark"] != "not executed", match["mark"] == "executed"
        yield Block(page, line, kind, argument, options, body, is_executed, is_transcript)
