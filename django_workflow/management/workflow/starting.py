"""`start`: start a run, and wait for it if asked to."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from django_workflow import statuses
from django_workflow.exceptions import WaitTimeout
from django_workflow.management.workflow import arguments, lookup, runs, tables
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, REFUSED, STILL_RUNNING, Subcommand
from django_workflow.operations import START
from django_workflow.operations.start import StartWords
from django_workflow.read import workers
from django_workflow.read.run.waiting import prospect_of, until_settled
from django_workflow.runs import RunHandle, get_run_status
from django_workflow.worker.exit_codes import INTERRUPTED

#: Seconds that are more than anybody waits.
LONGEST = 1e9


class Start(Subcommand):
    name = "start"
    help = "Start a run of a flow."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("flow", metavar="FLOW", help="The flow's name.")
        inputs = parser.add_mutually_exclusive_group()
        inputs.add_argument("--input", type=arguments.json_value, metavar="JSON", help="What the run is started with.")
        inputs.add_argument("--input-file", metavar="FILE", help="A file that holds it; - is standard input.")
        parser.add_argument(
            "--key", metavar="TEXT", help="Idempotency key: a second start with the same key finds the first run."
        )
        parser.add_argument(
            "--label", action="append", type=arguments.label, metavar="NAME=VALUE", help="A label; may be repeated."
        )
        parser.add_argument("--title", default="", metavar="TEXT", help="What people call this run.")
        parser.add_argument("--delay", type=arguments.duration, metavar="DURATION", help="Start later, such as in 10m.")
        arguments.add_by(parser)
        parser.add_argument(
            "--wait", nargs="?", type=arguments.patience, const=timedelta.max, metavar="SECONDS",
            help="Wait until the run has settled, or so long at most; exits 1 if it does not succeed.",
        )  # fmt: skip
        parser.add_argument("--output", action="store_true", help="With --wait: show the run's output.")

    def run(self, console: Console, options: Any) -> int:
        flow = lookup.find_flow(options.flow)
        value = arguments.json_file(options.input_file) if options.input_file is not None else options.input
        try:
            words = StartWords(
                input=value,
                idempotency_key=options.key,
                labels=arguments.one_of_each(options.label or ()),
                title=options.title,
                delay=options.delay,
            )
            done = START.perform(flow, words, arguments.author(options.by))
        except ValueError as error:
            raise CommandError(f"{error}.") from error
        assert done.run_id is not None
        handle = RunHandle(done.run_id)
        if options.wait is None:
            run = lookup.find_run(str(handle.id))
            console.document(runs.as_data(run))
            console.line(f"Started run {handle.id}" if console.is_terminal else str(handle.id))
            if console.is_terminal:
                console.line(f"Follow it: manage.py workflow events {console.short(handle.id)} -f")
                _warn_without_workers(console)
            return DONE
        _warn_without_workers(console)
        return _waited(console, handle, options.wait, shows_output=options.output)


def _warn_without_workers(console: Console) -> None:
    if not workers.live(workers.read()):
        console.note("No worker is running. Start one with: manage.py run_workflow_worker")


def _waited(console: Console, handle: RunHandle, patience: timedelta, *, shows_output: bool) -> int:
    """Wait for the run, say how it ended and return the exit code."""
    try:
        is_settled = wait(console, handle.id, patience)
    except KeyboardInterrupt:
        console.progress("")
        console.note(f"Run {handle.id} goes on. Stop it with: manage.py workflow cancel {handle.id}")
        return INTERRUPTED
    run = lookup.find_run(str(handle.id))
    output = {"output": handle.result().output} if shows_output else {}
    console.document(runs.as_data(run) | output)
    if not is_settled:
        console.line(f"Run {run.pk} is still {run.status}; {prospect_of(run.pk, run.status)}.")
        return STILL_RUNNING
    took = console.took(run.started_at or run.created_at, run.ended_at)
    style = "SUCCESS" if run.status == statuses.SUCCEEDED else "ERROR"
    console.line(f"Run {run.pk} {console.paint(run.status.replace('_', ' '), style)} after {took}")
    if run.error:
        console.line(tables.printable(runs.error_text(run.error)))
    if shows_output:
        console.line(runs.pretty(output["output"]))
    return DONE if run.status == statuses.SUCCEEDED else REFUSED


def wait(console: Console, run_id: UUID, patience: timedelta) -> bool:
    """Wait for a run to settle, showing how far it is; returns whether it did in time."""
    began = time.monotonic()

    def show() -> None:
        if console.has_progress:
            console.progress(_progress_text(run_id, time.monotonic() - began))

    try:
        until_settled(run_id, min(patience.total_seconds(), LONGEST), show)
    except WaitTimeout:
        return False
    finally:
        console.progress("")
    return True


def _progress_text(run_id: UUID, seconds: float) -> str:
    standing = get_run_status(run_id)
    share = "" if standing.percentage is None else f"  {standing.percentage:.0f}%"
    counts = f"{standing.settled:,} of {standing.total:,} tasks finished"
    failed = f", {standing.failed:,} failed" if standing.failed else ""
    status = standing.status.replace("_", " ")
    return f"{status}{share}  {counts}{failed}  {seconds:.0f} s  {', '.join(standing.current_steps)}"
