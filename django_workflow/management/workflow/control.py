"""`cancel`, and other verbs on runs; each says who did it, and why."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django_workflow.exceptions import WorkflowError
from django_workflow.management.workflow import arguments, lookup, runs
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, REFUSED, Subcommand
from django_workflow.models import Run
from django_workflow.runs import RunHandle, cancel


class Cancel(Subcommand):
    name = "cancel"
    help = "End runs as cancelled: queued tasks are cancelled, running handlers are told to stop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("runs", nargs="+", metavar="RUN", help=lookup.RUN_HELP)
        arguments.add_author(parser)

    def run(self, console: Console, options: Any) -> int:
        by = arguments.author(options.by)
        return on_each(console, options.runs, lambda run: cancel(run, reason=options.reason, by=by))


def on_each(console: Console, names: list[str], verb: Callable[[Run], RunHandle]) -> int:
    """Do something with each run named and say how it stands then; a name that is wrong lets nothing be done."""
    chosen = [lookup.find_run(name) for name in dict.fromkeys(names)]
    answers, code = [], DONE
    for run in chosen:
        try:
            changed = verb(run).run
        except WorkflowError as error:
            code = REFUSED
            answers.append(runs.as_data(run) | {"refused": error.message})
            console.note(error.message)
        else:
            answers.append(runs.as_data(changed) | {"refused": None})
            console.line(f"Run {changed.pk} of {changed.flow.slug} is {changed.status}.")
    console.document(answers)
    return code
