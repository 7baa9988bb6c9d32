"""Local runs whose process has ended before them fail."""

from __future__ import annotations

from uuid import UUID

from django_workflow import db
from django_workflow.engine.due.duty import BATCH, attempt
from django_workflow.engine.stored.locking import local_lease_key
from django_workflow.engine.verbs.cancel import end_runs
from django_workflow.statuses import FAILED

LOCAL_RUNS = """
    SELECT id FROM django_workflow_run WHERE status IN ('scheduled', 'running', 'paused') AND is_local LIMIT %s
"""
TRY_LOCAL_LEASE = "SELECT pg_try_advisory_xact_lock(%s)"
LOCK_IF_UNSETTLED = """
    SELECT id FROM django_workflow_run
    WHERE id = %s AND status IN ('scheduled', 'running', 'paused') FOR NO KEY UPDATE SKIP LOCKED
"""


def end_lost_local_runs() -> int:
    """End local runs as failed whose process has ended: their advisory lock is free."""
    return sum(attempt(_end_if_lost, run_id, run=run_id) for (run_id,) in db.rows(LOCAL_RUNS, [BATCH]))


def _end_if_lost(run_id: UUID) -> int:
    with db.atomic():
        if db.rows(TRY_LOCAL_LEASE, [local_lease_key(run_id)])[0][0] and db.rows(LOCK_IF_UNSETTLED, [run_id]):
            end_runs([run_id], FAILED, "run.failed", reason="lost: the process that executed this run ended before it")
            return 1
    return 0
