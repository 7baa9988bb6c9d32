"""Scheduled runs whose time has come begin."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_workflow import db, payload
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.settling import isolation
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.verbs.start import entry_facts
from django_workflow.engine.writing import runs
from django_workflow.engine.writing.advance import Advance
from django_workflow.notifications import notifications

DUE_VERSIONS = """
    SELECT DISTINCT version_id FROM django_workflow_run WHERE status = 'scheduled' AND due_at <= clock_timestamp()
"""
FIND_DUE_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE status = 'scheduled' AND due_at <= clock_timestamp() AND version_id = ANY(%s::bigint[])
    ORDER BY id LIMIT %s
"""
IS_DUE = "AND status = 'scheduled' AND due_at <= clock_timestamp()"


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
        due = list(lock_runs(run_ids, only=IS_DUE).values())
        inputs = runs.begin(due)
        for run in due:
            advance.events.run(run.id, "run.started")
            spec = versions.spec_of(run.version_id)
            facts = entry_facts(run, spec, payload.loads(inputs[run.id]))
            advance.add(run, spec, decide(spec, facts, is_start=True))
        advance.write()
    db.notify_after_commit(notifications(queues=advance.queued.queues, runs=inputs))
    return len(due)


def _fail(run_id: UUID, error: Exception) -> None:
    """End a scheduled run that cannot begin."""
    cancelled: set[UUID] = set()
    with db.atomic():
        for run in lock_runs([run_id], only=IS_DUE).values():
            cancelled = runs.fail(run, error)
    db.notify_after_commit(notifications(runs=[run_id], cancelled=cancelled))
