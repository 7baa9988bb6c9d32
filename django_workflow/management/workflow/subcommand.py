"""What a subcommand is."""

from __future__ import annotations

from argparse import ArgumentParser
from types import SimpleNamespace
from typing import Any, ClassVar

from django_workflow.management.workflow.console import Console

Options = SimpleNamespace

#: What a shell is told. Python's argparse answers 2 where a command cannot be read at all.
DONE, REFUSED, STILL_RUNNING = 0, 1, 3


class Subcommand:
    """One word after `manage.py workflow`: how it is called, what it takes, what it does."""

    name: ClassVar[str]
    help: ClassVar[str]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what this subcommand takes."""

    def run(self, console: Console, options: Any) -> int:
        """Do it and return the exit code; raises `CommandError` or `WorkflowError` for what is refused."""
        raise NotImplementedError
