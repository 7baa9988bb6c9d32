"""Runs that are past their deadline end as timed out."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_workflow import db
from django_workflow.engine.due.duty import BATCH, leave_for_later
from django_workflow.engine.settling import isolation
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.writing import runs
from django_workflow.notifications import notifications
from django_workflow.statuses import TIMED_OUT

IS_OVERDUE = "status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp()"
OVERDUE_RUNS = f"SELECT id FROM django_workflow_run WHERE {IS_OVERDUE} ORDER BY id LIMIT %s"


def end_overdue_runs() -> int:
    """End runs that are past their deadline as timed out; returns how many. One that cannot be ended stops no other."""
    return isolation.each_apart([run_id for (run_id,) in db.rows(OVERDUE_RUNS, [BATCH])], _end_overdue, leave_for_later)


def _end_overdue(run_ids: Sequence[UUID]) -> int:
    with db.atomic():
        overdue = lock_runs(run_ids, only=IS_OVERDUE)
        # some are scheduled still: a release that cannot decide them leaves them so
        cancelled = runs.end(list(overdue.values()), TIMED_OUT, reason="the run took longer than its max_duration")
    db.notify_after_commit(notifications(runs=overdue, cancelled=cancelled))
    return len(overdue)
