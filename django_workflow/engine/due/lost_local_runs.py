"""Local runs whose process has ended before them fail."""

from __future__ import annotations

from uuid import UUID

from django_workflow import db
from django_workflow.engine.due.duty import BATCH, attempt
from django_workflow.engine.stored.locking import local_lease_key, lock_runs
from django_workflow.engine.writing import runs
from django_workflow.statuses import FAILED

IS_UNSETTLED = "status IN ('scheduled', 'running', 'paused')"
LOCAL_RUNS = f"SELECT id FROM django_workflow_run WHERE {IS_UNSETTLED} AND is_local LIMIT %s"
TRY_LOCAL_LEASE = "SELECT pg_try_advisory_xact_lock(%s)"


def end_lost_local_runs() -> int:
    """End local runs as failed whose process has ended: their advisory lock is free."""
    return sum(attempt(_end_if_lost, run_id, run=run_id) for (run_id,) in db.rows(LOCAL_RUNS, [BATCH]))


def _end_if_lost(run_id: UUID) -> int:
    with db.atomic():
        if not db.rows(TRY_LOCAL_LEASE, [local_lease_key(run_id)])[0][0]:
            return 0
        lost = lock_runs([run_id], only=IS_UNSETTLED)
        runs.end(list(lost.values()), FAILED, reason="lost: the process that executed this run ended before it")
    return len(lost)
