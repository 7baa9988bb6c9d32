"""Notifications of the engine: the channels, and what is notified after a commit."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django_workflow import db, queue

#: NOTIFY channel on which pages and waiters hear that a run changed; the payload is its id.
RUN_CHANNEL = db.RUN_CHANNEL
#: NOTIFY channel on which workers hear that a run was cancelled or paused, or a queue paused; the payload is the
#: run's id or the queue's name, which has no dash.
CONTROL_CHANNEL = "django_workflow_control"


def notifications(
    *, queues: Iterable[str] = (), runs: Iterable[UUID] = (), cancelled: Iterable[UUID] = ()
) -> list[tuple[str, str]]:
    """Return pairs of channel and payload."""
    return [
        *((queue.CHANNEL, name) for name in queues),
        *((RUN_CHANNEL, str(run_id)) for run_id in runs),
        *((CONTROL_CHANNEL, str(run_id)) for run_id in cancelled),
    ]
