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

OVERDUE_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp() ORDER BY id LIMIT %s
"""
IS_OVERDUE = "AND status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp()"


def end_overdue_runs() -> int:
    """End runs that are past their deadline as timed out; returns how many. One that cannot be ended stops no other."""
    return isolation.each_apart([run_id for (run_id,) in db.rows(OVERDUE_RUNS, [BATCH])], _end_overdue, leave_for_later)


def _end_overdue(run_ids: Sequence[UUID]) -> int:
    with db.atomic():
        overdue = lock_runs(run_ids, only=IS_OVERDUE)
        # a release that cannot decide a scheduled run leaves it scheduled, up to its deadline
        reason = "the run took longer than its max_duration"
        cancelled = runs.end(list(overdue.values()), TIMED_OUT, reason=reason)
    db.notify_after_commit(notifications(runs=overdue, cancelled=cancelled))
    return len(overdue)
