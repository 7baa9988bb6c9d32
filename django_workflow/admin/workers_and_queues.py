"""Queues and workers in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from django_workflow.admin.base import ReadOnlyAdmin, live_url, pill
from django_workflow.models import Queue, Worker
from django_workflow.read import queues, workers
from django_workflow.statuses import PAUSED
from django_workflow.templatetags.django_workflow import moment
from django_workflow.web.acting.buttons import Button, queue_buttons


@admin.register(Queue)
class QueueAdmin(ReadOnlyAdmin):
    """Queues, by name."""

    ordering = ("name",)
    list_display = ("name_shown", "state", "paused", "reason")
    search_fields = ("name",)
    shown = ("name_shown", "state", "waiting", "paused", "paused_by", "reason", "created_at")

    def tools(self, request: HttpRequest, obj: Queue) -> list[Button]:
        """Return what the user may do with the queue."""
        return queue_buttons(request.user, obj) if live_url("board") else []

    def live_url(self, obj: Queue) -> str:
        """Return the address of the page of queues."""
        return live_url("queues")

    @admin.display(description="queue")
    def name_shown(self, row: Queue) -> str:
        """Return the name."""
        return row.name

    @admin.display(description="status")
    def state(self, row: Queue) -> Any:
        """Return whether it is paused."""
        return pill(PAUSED) if row.paused_at else "open"

    @admin.display(description="paused")
    def paused(self, row: Queue) -> Any:
        """Return since when."""
        return moment(row.paused_at)

    @admin.display(description="why")
    def reason(self, row: Queue) -> str:
        """Return why it is paused."""
        return row.pause_reason or "–"

    @admin.display(description="waiting")
    def waiting(self, row: Queue) -> str:
        """Return how many tasks wait in it."""
        state = queues.QueueState(row.name, row.paused_at, row.paused_by, row.pause_reason)
        queues.read_depths([state])
        return f"{state.visible} waiting, {state.hidden} in work or due later"


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Worker processes, newest first."""

    ordering = ("-id",)
    list_display = ("__str__", "state", "serves", "busy", "settled", "started", "heard_of")
    shown = ("hostname", "pid", "state", "serves", "busy", "settled", "started", "heard_of", "stopped", "lease_seconds")

    def prepare(self, rows: Sequence[Worker]) -> None:
        """Read which of them are live, by the database's clock."""
        states = workers.states([row.pk for row in rows])
        for row in rows:
            row.state = states.get(row.pk, "")  # type: ignore[attr-defined]

    def live_url(self, obj: Worker) -> str:
        """Return the address of the page of workers."""
        return live_url("workers")

    @admin.display(description="state")
    def state(self, worker: Worker) -> str:
        """Return whether it stopped, or does not report any more."""
        if not hasattr(worker, "state"):
            self.prepare([worker])
        return str(worker.state)  # type: ignore[attr-defined]

    @admin.display(description="queues")
    def serves(self, worker: Worker) -> str:
        """Return the queues it serves."""
        return ", ".join(worker.queues)

    @admin.display(description="busy slots")
    def busy(self, worker: Worker) -> str:
        """Return how many slots executed a handler at the last heartbeat, of how many."""
        return f"{worker.running_count} of {worker.concurrency}"

    @admin.display(description="finished attempts")
    def settled(self, worker: Worker) -> str:
        """Return how many attempts it has finished."""
        return f"{worker.settled_count:,}"

    @admin.display(description="started")
    def started(self, worker: Worker) -> Any:
        """Return when it was started."""
        return moment(worker.started_at)

    @admin.display(description="last seen")
    def heard_of(self, worker: Worker) -> Any:
        """Return when it last reported."""
        return moment(worker.heartbeat_at)

    @admin.display(description="stopped")
    def stopped(self, worker: Worker) -> Any:
        """Return when it stopped."""
        return moment(worker.stopped_at)
