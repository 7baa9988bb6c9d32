"""Notifications of the engine: the channels, and what is notified after a commit."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django_workflow import db, queue

#: NOTIFY channel on which pages and waiters hear that a run changed; the payload is its id.
RUN_CHANNEL = db.RUN_CHANNEL
#: NOTIFY channel on which workers hear that a run was cancelled or paused (`run:<id>`), or a queue (`queue:<name>`).
CONTROL_CHANNEL = "django_workflow_control"
#: The kinds of its payloads.
RUN_KIND, QUEUE_KIND = "run", "queue"


def control_of_run(run_id: UUID) -> tuple[str, str]:
    """Return the notification that a run was cancelled or paused."""
    return CONTROL_CHANNEL, f"{RUN_KIND}:{run_id}"


def control_of_queue(name: str) -> tuple[str, str]:
    """Return the notification that a queue was paused."""
    return CONTROL_CHANNEL, f"{QUEUE_KIND}:{name}"


def notifications(
    *, queues: Iterable[str] = (), runs: Iterable[UUID] = (), cancelled: Iterable[UUID] = ()
) -> list[tuple[str, str]]:
    """Return pairs of channel and payload."""
    return [
        *((queue.CHANNEL, name) for name in queues),
        *((RUN_CHANNEL, str(run_id)) for run_id in runs),
        *map(control_of_run, cancelled),
    ]
