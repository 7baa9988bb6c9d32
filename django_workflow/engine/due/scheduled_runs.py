"""Scheduled runs whose time has come begin."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_workflow import db, payload
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.settling import isolation
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun
from django_workflow.engine.verbs.start import entry_facts
from django_workflow.engine.writing.advance import Advance
from django_workflow.notifications import notifications
from django_workflow.statuses import RUNNING

DUE_VERSIONS = """
    SELECT DISTINCT version_id FROM django_workflow_run WHERE status = 'scheduled' AND due_at <= clock_timestamp()
"""
FIND_DUE_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE status = 'scheduled' AND due_at <= clock_timestamp() AND version_id = ANY(%s::bigint[])
    ORDER BY id LIMIT %s
"""
LOCK_DUE_RUNS = """
    SELECT id, status, version_id, open_steps, task_count, is_local FROM django_workflow_run
    WHERE id = ANY(%s::uuid[]) AND status = 'scheduled' AND due_at <= clock_timestamp()
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
BEGIN_RUNS = """
    UPDATE django_workflow_run SET status = 'running', started_at = clock_timestamp()
    WHERE id = ANY(%s::uuid[]) RETURNING id, input
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
    return isolation.each_apart(due, _begin, _fail)


def _begin(run_ids: Sequence[UUID]) -> int:
    """Begin those of the runs that are scheduled still and held by nobody."""
    advance = Advance()
    with db.atomic():
        runs = [LockedRun(*row) for row in db.rows(LOCK_DUE_RUNS, [list(run_ids)])]
        if not runs:
            return 0
        inputs: dict[UUID, str] = dict(db.rows(BEGIN_RUNS, [[run.id for run in runs]]))
        for run in runs:
            run.status = RUNNING
            advance.events.run(run.id, "run.started")
            spec = versions.spec_of(run.version_id)
            facts = entry_facts(run, spec, payload.loads(inputs[run.id]))
            advance.add(run, spec, decide(spec, facts, is_start=True))
        advance.write()
    db.notify_after_commit(notifications(queues=advance.queues, runs=[run.id for run in runs]))
    return len(runs)


def _fail(run_id: UUID, error: Exception) -> None:
    """End a scheduled run that cannot begin."""
    cancelled: set[UUID] = set()
    with db.atomic():
        if db.rows(LOCK_DUE_RUNS, [[run_id]]):
            cancelled = isolation.fail_run(run_id, error)
    db.notify_after_commit(notifications(runs=[run_id], cancelled=cancelled))
