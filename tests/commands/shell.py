"""Calling `manage.py workflow` as a shell does, and reading what it answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import StringIO
from typing import Any

from django.core.management import call_command


class Terminal(StringIO):
    """A stream that says of itself that a person reads it."""

    def isatty(self) -> bool:
        return True


@dataclass
class Answer:
    """What a command wrote and with which code it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def records(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def workflow(*arguments: object, on_terminal: bool = False, command: str = "workflow") -> Answer:
    """Run a subcommand; what it refuses with `CommandError` is raised."""
    kind = Terminal if on_terminal else StringIO
    out, err = kind(), kind()
    code = 0
    try:
        call_command(command, *map(str, arguments), stdout=out, stderr=err)
    except SystemExit as end:
        code = end.code
    return Answer(code, out.getvalue(), err.getvalue())
