"""The pages of queues and of workers: what waits, who works, and what nobody takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from django_workflow import db, queue, times
from django_workflow.web.access import page
from django_workflow.web.acting.buttons import Button, queue_buttons
from django_workflow.web.runs.run_counts import Count

#: Messages of a queue are counted up to this.
MOST: Final = 10_000
#: A queue whose oldest visible task waits so long, in seconds, is behind.
LATE: Final = 60.0
LIVE, SILENT, STOPPED = "live", "silent", "stopped"

# one statement for both: the board has few to spend
READ = """
    SELECT 'queue', to_jsonb(q)::text FROM django_workflow_queue q
    UNION ALL
    SELECT 'worker', (to_jsonb(w) || jsonb_build_object(
        'age', extract(epoch FROM clock_timestamp() - heartbeat_at),
        'state', CASE WHEN stopped_at IS NOT NULL THEN 'stopped'
                      WHEN heartbeat_at < clock_timestamp() - make_interval(secs => lease_seconds) THEN 'silent'
                      ELSE 'live' END))::text
    FROM (
        SELECT * FROM django_workflow_worker
        WHERE heartbeat_at > clock_timestamp() - interval '1 day' AND (stopped_at IS NULL OR %s::bool)
        ORDER BY id DESC LIMIT 500
    ) w
"""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker process as it last reported; a silent one stopped reporting without a goodbye. age: of that, in seconds.

    running_count: slots in which a handler was executed. settled_count: attempts it has finished.
    """

    id: int
    hostname: str
    pid: int
    queues: list[str]
    concurrency: int
    running_count: int
    settled_count: int
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    age: float
    state: str

    @property
    def settled(self) -> str:
        """Attempts it has finished, for people."""
        return f"{self.settled_count:,}"


@dataclass(slots=True)
class QueueState:
    """A queue: who paused it and why, who serves it, and how much waits in it once that is known."""

    name: str
    paused_at: datetime | None
    paused_by: str
    pause_reason: str
    workers: list[WorkerState] = field(default_factory=list)
    visible: Count = field(default_factory=lambda: Count(0))
    hidden: Count = field(default_factory=lambda: Count(0))
    oldest: float = 0.0
    buttons: list[Button] = field(default_factory=list)

    @property
    def total(self) -> Count:
        """All its messages."""
        return Count(self.visible.number + self.hidden.number, is_more=self.visible.is_more or self.hidden.is_more)

    @property
    def is_abandoned(self) -> bool:
        """Whether tasks wait and no worker would take them."""
        return not self.workers and bool(self.total)

    @property
    def is_late(self) -> bool:
        """Whether tasks wait for long although they could be taken."""
        return self.paused_at is None and bool(self.workers) and bool(self.visible) and self.oldest > LATE


def read(*, with_stopped: bool = False) -> tuple[list[QueueState], list[WorkerState]]:
    """Return queues by name, without their depths, and the workers last seen within a day, newest first.

    with_stopped: those that have said goodbye, too.
    """
    queues, workers = [], []
    for kind, text in db.rows(READ, [with_stopped]):
        values = json.loads(text)
        if kind == "queue":
            named = {name: values[name] for name in ("name", "paused_by", "pause_reason")}
            queues.append(QueueState(paused_at=_moment(values["paused_at"]), **named))
        else:
            workers.append(_worker(values))
    for state in queues:
        state.workers = [worker for worker in workers if worker.state == LIVE and state.name in worker.queues]
    return sorted(queues, key=lambda state: state.name), workers


def _worker(values: dict[str, Any]) -> WorkerState:
    named = {name: values[name] for name in WorkerState.__slots__}
    return WorkerState(**named | {name: _moment(values[name]) for name in ("started_at", "heartbeat_at", "stopped_at")})


def _moment(text: str | None) -> datetime | None:
    return None if text is None else times.of_site(datetime.fromisoformat(text))


def read_depths(queues: Sequence[QueueState]) -> None:
    """Read how much waits in each queue."""
    found = queue.depths([state.name for state in queues], MOST + 1)
    for state in queues:
        visible, hidden, state.oldest = found[state.name]
        state.visible = Count(min(visible, MOST), is_more=visible > MOST)
        state.hidden = Count(min(hidden, MOST), is_more=hidden > MOST)


@require_safe
@page
def queues(request: HttpRequest) -> HttpResponse:
    """List queues: two statements."""
    found, workers_found = read()
    read_depths(found)
    for state in found:
        state.buttons = queue_buttons(request.user, state)
    context = {
        "page": "queues",
        "queues": found,
        "has_workers": any(worker.state == LIVE for worker in workers_found),
        "here": request.get_full_path(),
    }
    return render(request, "django_workflow/queues.html", context)


@require_safe
@page
def workers(request: HttpRequest) -> HttpResponse:
    """List worker processes: one statement."""
    _, found = read(with_stopped=True)
    context = {
        "page": "workers",
        "workers": [worker for worker in found if worker.state != STOPPED],
        "stopped": [worker for worker in found if worker.state == STOPPED],
        "silent": [worker for worker in found if worker.state == SILENT],
        "live": sum(worker.state == LIVE for worker in found),
        "busy": sum(worker.running_count for worker in found if worker.state == LIVE),
        "room": sum(worker.concurrency for worker in found if worker.state == LIVE),
    }
    return render(request, "django_workflow/workers.html", context)
