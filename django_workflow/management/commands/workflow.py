"""`manage.py workflow …`: see and control runs from the shell."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, ArgumentParser
from types import SimpleNamespace
from typing import Any

from django_workflow.management.interruptions import InterruptibleCommand
from django_workflow.management.workflow import SUBCOMMANDS
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.refusals import refusals
from django_workflow.management.workflow.subcommand import DONE


class Command(InterruptibleCommand):
    help = "See and control runs: what is there, what happened, what waits; start, stop and repeat it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="word", metavar="SUBCOMMAND", required=True)
        for subcommand in SUBCOMMANDS:
            own = words.add_parser(subcommand.name, help=subcommand.help, description=subcommand.help)
            subcommand.add_arguments(own)
            own.add_argument("--json", action="store_true", help="JSON for programs; nothing else on standard output.")
            _add_options_of_django(own)

    def handle(self, *args: Any, **options: Any) -> None:
        subcommand = next(item for item in SUBCOMMANDS if item.name == options["word"])
        console = Console(
            self.stdout,
            self.stderr,
            self.style,
            is_json=options["json"],
            has_colours=options["force_color"] or (self.stdout.isatty() and not options["no_color"]),
        )
        code = DONE
        try:
            with refusals():
                code = subcommand.run(console, SimpleNamespace(**options))
        except KeyboardInterrupt:
            console.progress("")
            raise
        if code:
            sys.exit(code)


def _add_options_of_django(parser: ArgumentParser) -> None:
    """Let the options of every command stand behind the subcommand, too, where people write them."""
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=(0, 1, 2, 3), default=SUPPRESS, help=SUPPRESS)
