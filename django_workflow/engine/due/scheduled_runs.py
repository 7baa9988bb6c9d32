"""Scheduled runs whose time has come begin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from django_workflow import db, payload
from django_workflow.engine.settling import isolation
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.stored.state import FreshState
from django_workflow.engine.writing import runs
from django_workflow.engine.writing.advance import Advance

IS_DUE = "status = 'scheduled' AND due_at <= clock_timestamp()"
DUE_VERSIONS = f"SELECT DISTINCT version_id FROM django_workflow_run WHERE {IS_DUE}"
FIND_DUE_RUNS = f"""
    SELECT id FROM django_workflow_run WHERE {IS_DUE} AND version_id = ANY(%s::bigint[]) ORDER BY id LIMIT %s
"""


def begin_due(limit: int = 500) -> int:
    """Begin scheduled runs whose time has come; returns how many.

    Runs of versions that name conditions this process has no code for stay scheduled: in a rolling
    deploy a keeper of the new release begins them. A run whose beginning is refused fails for it, alone.
    """
    version_ids = [version_id for (version_id,) in db.rows(DUE_VERSIONS) if versions.can_decide(version_id)]
    if not version_ids:
        return 0
    due = [run_id for (run_id,) in db.rows(FIND_DUE_RUNS, [version_ids, limit])]
    return isolation.each_apart(due, _begin, partial(isolation.fail_run, only=IS_DUE))


def _begin(run_ids: Sequence[UUID]) -> int:
    """Begin those of the runs that are scheduled still and held by nobody."""
    with db.atomic():
        due = lock_runs(run_ids, only=IS_DUE)
        advance, inputs = Advance(), runs.begin(list(due.values()))
        for run_id, run in due.items():
            advance.events.run(run_id, "run.started")
            advance.decide(run, state=FreshState(), input=payload.loads(inputs[run_id]), is_start=True)
        advance.finish(due)
    return len(due)
