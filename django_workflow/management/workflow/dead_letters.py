"""`dead`: failures that ended runs, until they are retried or dismissed."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import CommandError

from django_workflow.management.workflow import arguments, lookup
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.management.workflow.tables import Column
from django_workflow.read.dead_letters import DeadLetter, dead_letters
from django_workflow.runs import dismiss_dead_letters, retry_dead_letters

#: Letters read, retried and dismissed at once.
BATCH = 500


class Dead(Subcommand):
    name = "dead"
    help = "List dead letters, failed tasks that ended their runs; retry their runs, or dismiss them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action", nargs="?", choices=tuple(ACTIONS), default="list", metavar="ACTION",
            help="list (default); retry: their runs, each once; dismiss: nothing more is needed.",
        )  # fmt: skip
        parser.add_argument("ids", nargs="*", type=arguments.positive, metavar="ID", help="Ids of tasks, as listed.")
        parser.add_argument("--all", action="store_true", help="All of them, or of this flow and queue.")
        parser.add_argument("--flow", metavar="SLUG", help="Only of this flow.")
        parser.add_argument("--queue", metavar="NAME", help="Only of this queue.")
        parser.add_argument("--limit", type=arguments.positive, default=20, metavar="N", help="List so many at most.")
        arguments.add_author(parser)

    def run(self, console: Console, options: Any) -> int:
        if options.flow:
            lookup.known_flow(options.flow)
        if options.queue:
            lookup.known_queue(options.queue)
        return ACTIONS[options.action](console, options)


def _list(console: Console, options: Any) -> int:
    if options.ids:
        raise CommandError("List all, or of one flow: manage.py workflow dead --flow SLUG")
    found = dead_letters(options.flow, options.queue, options.limit + 1)
    shown = found[: options.limit]
    console.document([asdict(letter) for letter in shown])
    if not found:
        console.line("No dead letters. Failed tasks of failed runs are listed here until somebody takes care of them.")
        return DONE
    columns = (
        Column("ID", is_right=True), Column("FLOW", is_flexible=True), Column("STEP", is_flexible=True),
        Column("ITEM", is_right=True), Column("ATTEMPTS", is_right=True), Column("FAILED"), Column("RUN"),
        Column("ERROR", is_flexible=True),
    )  # fmt: skip
    console.table(columns, [_row(console, letter) for letter in shown])
    if console.is_terminal:
        more = f"There are more: --limit {options.limit * 5}. " if len(found) > options.limit else ""
        console.line(f"{more}Then: manage.py workflow dead retry ID… | dead dismiss ID… --reason TEXT")
    return DONE


def _row(console: Console, letter: DeadLetter) -> tuple[str, ...]:
    return (
        str(letter.task_id),
        letter.flow,
        letter.step,
        str(letter.index),
        str(letter.attempts),
        console.when(letter.failed_at),
        console.short(letter.run_id),
        f"{letter.error_class.rpartition('.')[2]}: {letter.message}",
    )


def _check_choice(options: Any) -> None:
    if options.ids and options.all:
        raise CommandError("Give ids, or --all, not both.")
    if not options.ids and not options.all:
        raise CommandError("Which ones? Give ids, as listed by manage.py workflow dead, or --all.")
    if options.ids and (options.flow or options.queue):
        raise CommandError("--flow and --queue go with --all.")


def _retry(console: Console, options: Any) -> int:
    """Retry in batches: letters of runs that were retried are listed no more."""
    _check_choice(options)
    by = arguments.author(options.by)
    retried: list[str] = []
    while ids := options.ids or _ids(options):
        retried += [str(handle.id) for handle in retry_dead_letters(ids, by=by, reason=options.reason)]
        if options.ids:
            break
    console.document({"runs": retried})
    for run_id in retried:
        console.line(f"Run {run_id} retries" if console.is_terminal else run_id)
    if not retried:
        console.line("No dead letters.")
    return DONE


def _dismiss(console: Console, options: Any) -> int:
    _check_choice(options)
    if not options.reason.strip():
        raise CommandError("Say why, for whoever asks later: --reason TEXT")
    by = arguments.author(options.by)
    count = 0
    while ids := options.ids or _ids(options):
        count += dismiss_dead_letters(ids, reason=options.reason, by=by)
        if options.ids:
            break
    console.document({"dismissed": count})
    console.line(f"Dismissed {count:,} dead letter{'' if count == 1 else 's'}.")
    if options.ids and count < len(set(options.ids)):
        console.note(f"{len(set(options.ids)) - count} of them are no dead letters, or were dismissed before.")
    return DONE


def _ids(options: Any) -> list[int]:
    return [letter.task_id for letter in dead_letters(options.flow, options.queue, BATCH)]


ACTIONS: Final = {"list": _list, "retry": _retry, "dismiss": _dismiss}
