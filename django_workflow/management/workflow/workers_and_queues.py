"""`queues` and `workers`: what waits, and who works."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django_workflow import display
from django_workflow.management.workflow.console import Console
from django_workflow.management.workflow.subcommand import DONE, Subcommand
from django_workflow.management.workflow.tables import Cell, Column
from django_workflow.read import queues, workers
from django_workflow.read.queues import QueueState
from django_workflow.read.workers import LIVE, SILENT, STOPPED, WorkerState

#: Messages of a queue that are counted: all.
ALL = 2**31 - 2
STATE_STYLES = {LIVE: "SUCCESS", SILENT: "ERROR", STOPPED: ""}


class Workers(Subcommand):
    name = "workers"
    help = "List worker processes: what they serve, how many slots are busy, when they were last seen."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="Those that have stopped within a day, too.")

    def run(self, console: Console, options: Any) -> int:
        found = workers.read(with_stopped=options.all)
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
                f"{worker.running_count}/{worker.concurrency}" if worker.state == LIVE else "",
                worker.settled,
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
    return {
        "id": worker.id,
        "hostname": worker.hostname,
        "pid": worker.pid,
        "queues": worker.queues,
        "concurrency": worker.concurrency,
        "running": worker.running_count,
        "settled": worker.settled_count,
        "started_at": worker.started_at,
        "heartbeat_at": worker.heartbeat_at,
        "stopped_at": worker.stopped_at,
        "state": worker.state,
    }


class Queues(Subcommand):
    name = "queues"
    help = "List queues: how many tasks wait, how long the oldest has, who serves them."

    def run(self, console: Console, options: Any) -> int:
        found, _ = queues.read()
        queues.read_depths(found, ALL)
        console.document([_queue_data(state) for state in found])
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
                state.name,
                Cell(f"paused {console.when(state.paused_at)}", "WARNING") if state.paused_at else Cell("open"),
                f"{state.visible}",
                f"{state.hidden}",
                display.duration(state.oldest) if state.visible else "",
                Cell(f"{len(state.workers)}", "ERROR" if state.visible and not state.workers else ""),
            )
            for state in found
        ]
        console.table(columns, rows)
        for state in found:
            if state.visible and not state.workers and console.is_terminal:
                console.line(
                    f"No worker serves queue {state.name}: manage.py run_workflow_worker --queues {state.name}"
                )
        return DONE


def _queue_data(state: QueueState) -> dict[str, Any]:
    return {
        "queue": state.name,
        "waiting": state.visible.number,
        "hidden": state.hidden.number,
        "oldest_seconds": round(state.oldest, 3),
        "workers": len(state.workers),
        "paused_at": state.paused_at,
    }
