"""The page on mistakes: each section is a project with one mistake, a command, and what it prints.

`python -m tests.docs.mistakes` writes anew what the commands print.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import MISTAKES, ROOT, Block, blocks

SETTINGS = """
SECRET_KEY = "secret"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "pgtrigger", "django_workflow", "shop", "billing"
]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "mysite"}}
USE_TZ = True
"""
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
#: Lines of a traceback between its first line and the error.
FRAMES = re.compile(r"^Traceback \(most recent call last\):\n(?:  .*\n|\n)*", re.MULTILINE)


@dataclass(frozen=True)
class Mistake:
    """A section of the page: the files of a project, and a command with what it prints."""

    title: str
    files: tuple[Block, ...]
    console: Block

    @property
    def command(self) -> str:
        """What is typed."""
        return self.console.text.splitlines()[0].removeprefix("$ ")

    @property
    def printed(self) -> str:
        """What the page says is printed."""
        return "".join(self.console.text.splitlines(keepends=True)[1:])


def mistakes() -> Iterator[Mistake]:
    """Return the sections of the page that have a command."""
    text = MISTAKES.read_text()
    heads = [
        (text[: found.start()].count("\n") + 1, found[1]) for found in re.finditer(r"^## (.+)$", text, re.MULTILINE)
    ]
    found = list(blocks(MISTAKES))
    for number, (line, title) in enumerate(heads):
        end = heads[number + 1][0] if number + 1 < len(heads) else text.count("\n") + 1
        here = [block for block in found if line < block.line < end]
        files = tuple(block for block in here if "caption" in block.options)
        yield from (Mistake(title, files, block) for block in here if block.kind == "console")


def printed(mistake: Mistake, folder: Path) -> str:
    """Make a project with the mistake and return what its command prints, without the frames of tracebacks."""
    for name in ("mysite/__init__.py", "shop/__init__.py", "billing/__init__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "mysite" / "settings.py").write_text(SETTINGS)
    (folder / "manage.py").write_text(MANAGE)
    for block in mistake.files:
        name, _, where = block.options["caption"].partition(", ")
        with (folder / name).open("a" if where else "w") as file:
            file.write(block.text.lstrip("\n"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))}
    done = subprocess.run(
        mistake.command.replace("python", sys.executable, 1).split(), cwd=folder, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "NO_COLOR": "1"},
    )  # fmt: skip
    return FRAMES.sub("…\n", done.stdout)


def rewrite() -> None:
    """Write into the page what the commands print."""
    for mistake in list(mistakes()):
        with tempfile.TemporaryDirectory() as folder:
            told = printed(mistake, Path(folder))
        text = MISTAKES.read_text()
        head, tail = text.split(f"## {mistake.title}\n", 1)
        tail = tail.replace(f"```console\n{mistake.console.text}", f"```console\n$ {mistake.command}\n{told}", 1)
        MISTAKES.write_text(f"{head}## {mistake.title}\n{tail}")


if __name__ == "__main__":
    rewrite()
