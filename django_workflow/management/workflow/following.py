"""`events` and `logs`: what happened, and what happens from now on."""

from __future__ import annotations

import logging
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django_workflow.management.workflow import arguments, feed, lookup, runs, tables
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.models import Event, TaskLog
from django_workflow.read.run import history

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
#: How events and levels are coloured: the names of styles of Django's palette.
EVENT_STYLES = {
    "completed": "SUCCESS",
    "failed": "ERROR",
    "timed_out": "ERROR",
    "cancelled": "ERROR",
    "paused": "WARNING",
    "retried": "WARNING",
}
LEVEL_STYLES = {logging.WARNING: "WARNING", logging.ERROR: "ERROR", logging.CRITICAL: "ERROR"}


def add_follow(parser: ArgumentParser, what: str) -> None:
    """Take how many and whether to follow."""
    parser.add_argument(
        "-f", "--follow", action="store_true", help=f"Go on with new {what}, until the run has settled, or Ctrl-C."
    )
    parser.add_argument(
        "--limit", type=arguments.positive, default=50, metavar="N", help="So many of the past at most (default: 50)."
    )


def event_type(text: str) -> str:
    """Read a type of events, or a family of them: `run.*`."""
    if "*" in text.removesuffix(".*"):
        raise ArgumentTypeError(f"{text!r} is not a type of events: write its name, or its family as run.*")
    return text


class Events(Subcommand):
    name = "events"
    help = "Show events, of one run or of all, oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", nargs="?", metavar="RUN", help=lookup.RUN_HELP)
        parser.add_argument(
            "--type", action="append", type=event_type, metavar="TYPE",
            help="Only such events, as run.failed or run.*; may be repeated.",
        )  # fmt: skip
        add_follow(parser, "events")

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run) if options.run else None
        if options.follow:
            for event in feed.follow_events(run, options.type, options.limit):
                console.record(runs.event_data(event))
                _show_event(console, event, has_run=run is None)
            return DONE
        past = history.past_events(run.pk if run is not None else None, options.type or (), options.limit)
        console.document([runs.event_data(event) for event in past])
        for event in past:
            _show_event(console, event, has_run=run is None)
        if not past:
            console.line("No such events yet." if options.type or run else "No events yet; they come with runs.")
        return DONE


def _show_event(console: Console, event: Event, *, has_run: bool) -> None:
    # the ending of the type says how it went, as a status does
    style = next((style for word, style in EVENT_STYLES.items() if event.type.endswith(word)), "")
    parts = [
        console.clock(event.created_at),
        console.short(event.run_id) if has_run else "",
        console.paint(event.type.ljust(14), style),
        event.step,
        runs.data_text(event.data),
    ]
    console.line("  ".join(filter(None, parts)))


class Logs(Subcommand):
    name = "logs"
    help = "Show what the handlers of a run logged, oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", metavar="RUN", help=lookup.RUN_HELP)
        parser.add_argument("--step", metavar="STEP", help="Only of this step.")
        parser.add_argument(
            "--level", choices=LEVELS, default="debug", metavar="LEVEL",
            help=f"Only from this level: {', '.join(LEVELS)}.",
        )  # fmt: skip
        add_follow(parser, "lines")

    def run(self, console: Console, options: Any) -> int:
        run = lookup.find_run(options.run)
        if options.step:
            lookup.known_step(run, options.step)
        lines = history.lines(run.pk, options.step or "", LEVELS[options.level])
        if options.follow:
            for line in feed.follow_lines(run, lines, options.limit):
                console.record(_line_data(line))
                _show_line(console, line)
            return DONE
        past = list(lines[: options.limit])[::-1]
        console.document([_line_data(line) for line in past])
        for line in past:
            _show_line(console, line)
        if not past:
            console.line("Nothing was logged. Handlers log with ctx.logger, or any logger of Python's logging.")
        return DONE


def _line_data(line: TaskLog) -> dict[str, Any]:
    return {
        "run": str(line.run_id),
        "step": line.task.step_run.step,
        "index": line.task.index,
        "task": line.task_id,
        "attempt": line.attempt,
        "level": logging.getLevelName(line.level).lower(),
        "logger": line.logger,
        "message": line.message,
        "created_at": line.created_at,
    }


def _show_line(console: Console, line: TaskLog) -> None:
    step = line.task.step_run
    place = f"{step}[{line.task.index}]" if step.task_count > 1 else str(step)
    level = console.paint(logging.getLevelName(line.level).ljust(7), LEVEL_STYLES.get(line.level, ""))
    first, *others = line.message.splitlines() or [""]
    console.line(f"{console.clock(line.created_at)}  {level}  {place}  {tables.printable(first)}")
    for other in others:
        console.line(f"    {tables.printable(other)}")
