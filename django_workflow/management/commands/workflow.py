"""`manage.py workflow …`: see and control runs from the shell."""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, ArgumentParser
from types import SimpleNamespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.utils import OperationalError, ProgrammingError

from django_workflow.conf import conf
from django_workflow.exceptions import WorkflowError
from django_workflow.management.workflow import SUBCOMMANDS
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE


class Command(BaseCommand):
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
            code = subcommand.run(console, SimpleNamespace(**options))
        except WorkflowError as error:
            raise CommandError(error.message) from error
        except OperationalError as error:
            remedy = f"Start the server, or mend DATABASES[{conf.DATABASE!r}]."
            raise CommandError(f"The database does not answer: {str(error).strip()}. {remedy}") from error
        except ProgrammingError as error:
            raise CommandError(f"{str(error).strip()}\nIs the database up to date? manage.py migrate") from error
        except BrokenPipeError:
            # whoever read has read enough; without this Python complains when it closes the stream
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            console.progress("")
        if code:
            sys.exit(code)


def _add_options_of_django(parser: ArgumentParser) -> None:
    """Let the options of every command stand behind the subcommand, too, where people write them."""
    for name in ("--settings", "--pythonpath"):
        parser.add_argument(name, default=SUPPRESS, help=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color"):
        parser.add_argument(name, action="store_true", default=SUPPRESS, help=SUPPRESS)
    parser.add_argument("-v", "--verbosity", type=int, choices=(0, 1, 2, 3), default=SUPPRESS, help=SUPPRESS)
