"""`manage.py run_example NAME`: run one of the examples and show what happens."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from inspect import getdoc
from typing import Any

from django_workflow.management.interruptions import InterruptibleCommand
from example_project.database import prepare
from example_project.examples import EXAMPLES


class Command(InterruptibleCommand):
    """Runs examples: in this process, or on a worker that they start themselves."""

    help = "Run an example: " + "; ".join(f"{name}: {what}" for name, what in EXAMPLES.items()) + "."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the example's name."""
        parser.add_argument("name", choices=EXAMPLES, help="Which one.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Bring the database up to date, then run it."""
        prepare()
        module = import_module(f"example_project.examples.{options['name']}")
        self.say(f"{getdoc(module)}\n")
        module.run(self.say)
        self.say(f"\nHow it is written: {module.__name__.replace('.', '/')}.py")

    def say(self, text: str) -> None:
        """Print a text and end its line."""
        self.stdout.write(f"{text}\n")
