"""`queues` and `workers`: what waits, and who works."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_workflow import db, display, queue
from django_workflow.conf import conf
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.management.workflow.tables import Cell, Column
from django_workflow.models import Queue

LIVE, SILENT, STOPPED = "live", "silent", "stopped"
STATE_STYLES = {LIVE: "SUCCESS", SILENT: "ERROR", STOPPED: ""}

#: Newest first; those that stopped or fell silent long ago are of interest to nobody.
READ_WORKERS = """
    SELECT id, hostname, pid, queues, concurrency, running_count, settled_count,
           started_at, heartbeat_at, stopped_at,
           CASE WHEN stopped_at IS NOT NULL THEN 'stopped'
                WHEN heartbeat_at < clock_timestamp() - make_interval(secs => lease_seconds) THEN 'silent'
                ELSE 'live' END AS state
    FROM django_workflow_worker
    WHERE %s::bool OR (stopped_at IS NULL AND heartbeat_at > clock_timestamp() - interval '1 day')
    ORDER BY id DESC
"""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker process as it last reported; silent is one that stopped reporting without a goodbye.

    running: slots in which a handler was executed.
    """

    id: int
    hostname: str
    pid: int
    queues: list[str]
    concurrency: int
    running: int
    settled: int
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    state: str


def workers(*, all_of_them: bool = False) -> list[WorkerState]:
    """Return the workers that should be there, or all that are known, newest first."""
    found = db.rows(READ_WORKERS, [all_of_them])
    return [WorkerState(number, host, pid, json.loads(names), *rest) for number, host, pid, names, *rest in found]


def live_workers() -> list[WorkerState]:
    """Return the workers that reported within their lease."""
    return [worker for worker in workers() if worker.state == LIVE]


class Workers(Subcommand):
    name = "workers"
    help = "List worker processes: what they serve, how many slots are busy, when they were last seen."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="Those that have stopped, too.")

    def run(self, console: Console, options: Any) -> int:
        found = workers(all_of_them=options.all)
        console.document([_worker_data(worker) for worker in found])
        if not found:
            console.line("No worker is running. Start one with: manage.py run_workflow_worker")
            return DONE
        columns = (
            Column("ID", is_right=True), Column("WORKER", is_flexible=True), Column("STATE"),
            Column("QUEUES", is_flexible=True), Column("BUSY", is_right=True), Column("FINISHED", is_right=True),
            Column("STARTED"), Column("LAST SEEN"),
        )  # fmt: skip
        rows: list[tuple[Cell | str, ...]] = [
            (
                str(worker.id),
                f"{worker.hostname}:{worker.pid}",
                Cell(worker.state, STATE_STYLES[worker.state]),
                ",".join(worker.queues),
                f"{worker.running}/{worker.concurrency}" if worker.state == LIVE else "",
                f"{worker.settled:,}",
                console.when(worker.started_at),
                console.when(worker.heartbeat_at),
            )
            for worker in found
        ]
        console.table(columns, rows)
        if console.is_terminal and any(worker.state == SILENT for worker in found):
            console.line("A silent worker stopped reporting; its tasks will be retried when their lease ends.")
        return DONE


def _worker_data(worker: WorkerState) -> dict[str, Any]:
    return {name: getattr(worker, name) for name in WorkerState.__slots__}


class Queues(Subcommand):
    name = "queues"
    help = "List queues: how many tasks wait, how long the oldest has, who serves them."

    def run(self, console: Console, options: Any) -> int:
        found = queue_states()
        console.document(found)
        if not found:
            console.line("No queues yet. Make those of the declared flows with: manage.py migrate")
            return DONE
        columns = (
            Column("QUEUE", is_flexible=True), Column("STATE"), Column("WAITING", is_right=True),
            Column("IN PROGRESS OR DELAYED", is_right=True), Column("OLDEST", is_right=True),
            Column("WORKERS", is_right=True),
        )  # fmt: skip
        rows: list[tuple[Cell | str, ...]] = [
            (
                state["queue"],
                Cell(f"paused {console.when(state['paused_at'])}", "WARNING") if state["paused_at"] else Cell("open"),
                f"{state['waiting']:,}",
                f"{state['hidden']:,}",
                display.duration(state["oldest_seconds"]) if state["waiting"] else "",
                Cell(f"{state['workers']}", "ERROR" if state["waiting"] and not state["workers"] else ""),
            )
            for state in found
        ]
        console.table(columns, rows)
        for state in found:
            if state["waiting"] and not state["workers"] and console.is_terminal:
                console.line(
                    f"No worker serves queue {state['queue']}: manage.py run_workflow_worker --queues {state['queue']}"
                )
        return DONE


def queue_states() -> list[dict[str, Any]]:
    """Return how each queue stands."""
    live = live_workers()
    paused = dict(Queue.objects.using(conf.DATABASE).values_list("name", "paused_at"))
    return [
        _queue_state(name, paused.get(name), sum(name in worker.queues for worker in live)) for name in queue.existing()
    ]


def _queue_state(name: str, paused_at: datetime | None, served_by: int) -> dict[str, Any]:
    waiting, total, age = queue.depth(name)
    return {
        "queue": name,
        "waiting": waiting,
        "hidden": total - waiting,
        "oldest_seconds": round(age, 3),
        "workers": served_by,
        "paused_at": paused_at,
    }
