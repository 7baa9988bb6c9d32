"""`list`: which runs there are; and how one of them is told, in a line and as JSON."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from typing import Any

from django_workflow import statuses
from django_workflow.management.workflow import arguments, lookup
from django_workflow.management.workflow.console import Console, status
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.management.workflow.tables import Cell, Column
from django_workflow.models import Event, Run
from django_workflow.read.run import durations
from django_workflow.read.run.durations import Standing
from django_workflow.read.runs import add_versions, list_runs, newest

UNSETTLED = tuple(status for status in statuses.RUN_STATUSES if status not in statuses.RUN_TERMINAL)


def as_data(run: Run) -> dict[str, Any]:
    """Return what `--json` says of a run; its input and output are not in it."""
    return {
        "run": str(run.pk),
        "flow": run.flow.slug,
        "version": run.version.number,
        "status": run.status,
        "title": run.title,
        "labels": run.labels,
        "started_by": run.started_by,
        "idempotency_key": run.idempotency_key,
        "retry_of": str(run.retry_of_id) if run.retry_of_id else None,
        "created_at": run.created_at,
        "due_at": run.due_at,
        "started_at": run.started_at,
        "paused_at": run.paused_at,
        "deadline_at": run.deadline_at,
        "ended_at": run.ended_at,
        "error": run.error,
    }


def label_text(run: Run) -> str:
    """Return a run's labels in one line."""
    return " ".join(f"{name}={value}" for name, value in sorted(run.labels.items()))


class List(Subcommand):
    name = "list"
    help = "List runs, newest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--flow", metavar="SLUG", help="Only runs of this flow.")
        states = parser.add_mutually_exclusive_group()
        states.add_argument(
            "--status", action="append", choices=statuses.RUN_STATUSES, metavar="STATUS",
            help=f"Only runs with this status; may be repeated: {', '.join(statuses.RUN_STATUSES)}.",
        )  # fmt: skip
        states.add_argument("--unsettled", action="store_true", help="Only runs that are scheduled, running or paused.")
        parser.add_argument(
            "--since", type=arguments.duration, metavar="DURATION", help="Only runs made in this time, such as 2h."
        )
        parser.add_argument(
            "--label", action="append", type=arguments.label, metavar="NAME=VALUE",
            help="Only runs with this label; may be repeated.",
        )  # fmt: skip
        parser.add_argument(
            "--limit", type=arguments.positive, default=20, metavar="N", help="So many at most (default: 20)."
        )

    def run(self, console: Console, options: Any) -> int:
        wanted = options.status or (UNSETTLED if options.unsettled else None)
        found = list_runs(
            wanted,
            lookup.known_flow(options.flow) if options.flow else None,
            since=options.since,
            labels=arguments.one_of_each(options.label) if options.label else None,
            limit=options.limit + 1,
        )
        shown = found[: options.limit]
        add_versions(shown)
        standings = durations.read(shown)
        console.document([as_data(run) | standing_data(standings[run.pk]) for run in shown])
        if shown:
            console.table(COLUMNS, [_row(console, run, standings[run.pk]) for run in shown])
            _tell_unserved(console, standings.values())
        elif newest().exists():
            console.line("No run is like that. All of them: manage.py workflow list")
        else:
            console.line("No runs yet. Start one with: manage.py workflow start FLOW")
        if len(found) > options.limit and console.is_terminal:
            console.line(f"There are more: --limit {options.limit * 5}")
        return DONE


COLUMNS = (
    Column("RUN"), Column("FLOW", is_flexible=True), Column("STATUS"), Column("CREATED"),
    Column("WAITED", is_right=True), Column("RAN", is_right=True), Column("BY", is_flexible=True),
    Column("TITLE", is_flexible=True), Column("LABELS", is_flexible=True),
)  # fmt: skip


def standing_data(stands: Standing) -> dict[str, Any]:
    """Return what `--json` says of when a worker began a run, and of the queue where it waits for one in vain."""
    return {"begun_at": stands.spans.begun_at, "unserved_queue": stands.unserved or None}


def _tell_unserved(console: Console, standings: Iterable[Standing]) -> None:
    """Tell the queues in which runs wait and that no worker serves."""
    for name in sorted({stands.unserved for stands in standings if stands.unserved}):
        console.note(unserved(name))


def unserved(queue: str) -> str:
    """Say that no worker serves a queue, and how to start one."""
    return f"No worker serves queue {queue}: manage.py run_workflow_worker --queues {queue}"


def _row(console: Console, run: Run, stands: Standing) -> Sequence[Cell | str]:
    return (
        console.short(run.pk),
        run.flow.slug,
        status(run.status),
        console.when(run.created_at),
        console.took(stands.spans.waits_from, stands.spans.waits_to),
        console.took(stands.spans.runs_from, stands.spans.runs_to),
        run.started_by,
        run.title,
        label_text(run),
    )


def pretty(value: Any) -> str:
    """Return a JSON value for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def event_data(event: Event) -> dict[str, Any]:
    """Return what `--json` says of an event."""
    return {
        "run": str(event.run_id),
        "number": event.number,
        "type": event.type,
        "step": event.step,
        "task": event.task_id,
        "data": event.data,
        "created_at": event.created_at,
    }


def error_text(error: dict[str, Any] | None) -> str:
    """Return in one line what ended a run or a step."""
    if not error:
        return ""
    place = f"step {error['step']}: " if error.get("step") else ""
    name = str(error.get("class", "")).rpartition(".")[2]
    return f"{place}{name}: {error.get('message', '')}"


def data_text(data: Any) -> str:
    """Return the data of an event in one line."""
    if not isinstance(data, dict):
        return "" if data is None else str(data)
    return " ".join(
        f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}" for name, value in data.items()
    )
