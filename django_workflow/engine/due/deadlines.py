"""Runs that are past their deadline end as timed out."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_workflow import db
from django_workflow.engine.due.duty import BATCH, leave_for_later
from django_workflow.engine.settling import isolation
from django_workflow.engine.verbs.cancel import end_runs
from django_workflow.engine.writing import cancel_open
from django_workflow.notifications import notifications
from django_workflow.statuses import TIMED_OUT

OVERDUE_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp() ORDER BY id LIMIT %s
"""
LOCK_OVERDUE_RUNS = """
    SELECT id, is_local FROM django_workflow_run
    WHERE id = ANY(%s::uuid[]) AND status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp()
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""


def end_overdue_runs() -> int:
    """End runs that are past their deadline as timed out; returns how many. One that cannot be ended stops no other."""
    return isolation.each_apart([run_id for (run_id,) in db.rows(OVERDUE_RUNS, [BATCH])], _end_overdue, leave_for_later)


def _end_overdue(run_ids: Sequence[UUID]) -> int:
    with db.atomic():
        found = [row[0] for row in db.rows(LOCK_OVERDUE_RUNS, [list(run_ids)])]
        if found:
            # a release that cannot decide a scheduled run leaves it scheduled, up to its deadline
            cancel_open.begin_scheduled(found)
        reason = "the run took longer than its max_duration"
        cancelled = end_runs(found, TIMED_OUT, "run.timed_out", reason=reason)
    db.notify_after_commit(notifications(runs=found, cancelled=cancelled))
    return len(found)
