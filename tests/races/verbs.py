"""What the races do, in few words: the engine's verbs on the default queue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from django_workflow import db, queue
from django_workflow.engine.settling.settle import Settled, settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.models import Attempt, Run, StepRun, Task
from django_workflow.statuses import RUN_TERMINAL

QUEUE = "default"
LEASE = 30.0


def take(limit: int = 100, *, slots: int = 100) -> list[ClaimedTask]:
    """Claim tasks."""
    return claim.claim(QUEUE, limit, slots=slots, lease=LEASE)


def take_one() -> ClaimedTask:
    """Claim the one task there is."""
    (task,) = take()
    return task


def expire_leases() -> None:
    """Let every lease run out."""
    queue.advance(QUEUE, timedelta(hours=1))


def succeed(*tasks: ClaimedTask, output: str = "1", wait_ms: int | None = None) -> Settled:
    """Hand in successes."""
    return settle([outcome.succeeded(task, output) for task in tasks], wait_ms=wait_ms)


def settle_losses(tasks: Sequence[ClaimedTask]) -> Settled:
    """Hand in the attempts that others lost."""
    return settle([outcome.lost(task, 30.0) for task in tasks if task.is_lost])


def messages() -> int:
    """Return how many messages the queue holds, visible or not."""
    return queue.depth(QUEUE)[1]


def task_of(run: Any) -> Task:
    """Return the only task of a run."""
    return Task.objects.get(run_id=run.id)


def attempts_of(task_id: int) -> list[Attempt]:
    """Return what is recorded of a task's attempts, in order."""
    return list(Attempt.objects.filter(task_id=task_id).order_by("id"))


def assert_nothing_is_left_open() -> None:
    """A settled run has no live row, and where all are settled no queue has a message."""
    settled = list(Run.objects.settled().values_list("id", flat=True))
    live = [
        *StepRun.objects.filter(run_id__in=settled).unsettled(),
        *Task.objects.filter(run_id__in=settled).unsettled(),
    ]
    assert not live
    if not Run.objects.unsettled().exists():
        assert messages() == 0


def lock_run(run_id: UUID) -> None:
    """Lock a run's row, as any request of the site may."""
    db.rows("SELECT 1 FROM django_workflow_run WHERE id = %s FOR NO KEY UPDATE", [run_id])


def lock_task(task_id: int) -> None:
    """Lock a task's row, as whoever settles or repairs it does."""
    db.rows("SELECT 1 FROM django_workflow_task WHERE id = %s FOR NO KEY UPDATE", [task_id])


def is_settled(run: Any) -> bool:
    """Say whether a run is settled."""
    return run.status in RUN_TERMINAL


def assert_nothing_was_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Check that no outcome met a refusal of the database: that would hide what was not prevented before."""
    refused = [message for message in caplog.messages if message.startswith("outcome refused")]
    assert refused == [], "the database had to refuse an outcome"
