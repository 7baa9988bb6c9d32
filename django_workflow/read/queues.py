"""Queues: who paused them, who serves them, and how much waits in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django_workflow import db, queue, times
from django_workflow.read import workers
from django_workflow.read.counts import Count
from django_workflow.read.workers import WorkerState

#: Messages of a queue are counted up to this.
MOST: Final = 10_000
#: A queue whose oldest visible task waits so long, in seconds, is behind.
LATE: Final = 60.0

# one statement for both: the board has few to spend
READ: Final = f"""
    SELECT 'queue', to_jsonb(q)::text FROM django_workflow_queue q
    UNION ALL
    SELECT 'worker', w.* FROM ({workers.SEEN}) w
"""  # noqa: S608  a constant


@dataclass(slots=True)
class QueueState:
    """How a queue stands."""

    name: str
    paused_at: datetime | None
    paused_by: str
    pause_reason: str
    #: Live workers that serve it.
    workers: list[WorkerState] = field(default_factory=list)
    #: Messages that a worker may take now; known after `read_depths`, as the next two.
    visible: Count = field(default_factory=lambda: Count(0))
    #: Messages of tasks in progress, and of delayed ones.
    hidden: Count = field(default_factory=lambda: Count(0))
    #: Seconds for which the oldest visible one has waited.
    oldest: float = 0.0

    @property
    def total(self) -> Count:
        """All its messages."""
        number = self.visible.number + self.hidden.number
        return Count(number, is_more=self.visible.is_more or self.hidden.is_more)

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

    with_stopped: workers that have said goodbye, too.
    """
    queues, found = [], []
    for kind, text in db.rows(READ, [with_stopped]):
        if kind == "queue":
            queues.append(_of_json(text))
        else:
            found.append(workers.of_json(text))
    for state in queues:
        state.workers = [worker for worker in workers.live(found) if state.name in worker.queues]
    return sorted(queues, key=lambda state: state.name), found


def _of_json(text: str) -> QueueState:
    values = json.loads(text)
    paused_at = times.of_json(values["paused_at"])
    return QueueState(values["name"], paused_at, values["paused_by"], values["pause_reason"])


def read_depths(queues: Sequence[QueueState], most: int = MOST) -> None:
    """Read how much waits in each queue.

    most: messages that are counted of each.
    """
    found = queue.depths([state.name for state in queues], most + 1)
    for state in queues:
        visible, hidden, state.oldest = found[state.name]
        state.visible = Count(min(visible, most), is_more=visible > most)
        state.hidden = Count(min(hidden, most), is_more=hidden > most)
