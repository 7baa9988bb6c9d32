"""Delayed arrivals at joins: each waits in its row until it is due, and then counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from django_workflow import db, payload
from django_workflow.engine.routing.facts import NewArrival
from django_workflow.engine.settling import isolation
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.stored.outputs import read_inputs
from django_workflow.engine.writing.advance import Advance
from django_workflow.statuses import RUNNING

VERSIONS_ARRIVED_AT = """
    SELECT DISTINCT r.version_id FROM django_workflow_arrival a JOIN django_workflow_run r ON r.id = a.run_id
    WHERE a.generation IS NULL AND a.due_at <= clock_timestamp() AND r.status = 'running' AND NOT r.is_local
"""
# the version is asked for here, not of what was found: any number of runs that others decide must not fill the limit
RUNS_ARRIVED_AT = """
    SELECT DISTINCT r.id FROM django_workflow_arrival a JOIN django_workflow_run r ON r.id = a.run_id
    WHERE a.generation IS NULL AND a.due_at <= clock_timestamp() AND r.status = 'running' AND NOT r.is_local
      AND r.version_id = ANY(%s::bigint[])
    LIMIT %s
"""
DUE = db.select(
    NewArrival, step="step", source="source", is_cascade="is_cascade", scope="scope", generation="NULL::int",
    step_run="NULL::bigint", source_run="source_run_id", variables="variables_id",
)  # fmt: skip
TAKE_DUE = f"""
    DELETE FROM django_workflow_arrival
    WHERE run_id = ANY(%s::uuid[]) AND generation IS NULL AND due_at <= clock_timestamp()
    RETURNING id, run_id, {DUE}
"""


def arrive_due(limit: int = 500) -> int:
    """Count the arrivals whose time has come, and start what they complete; returns how many.

    Runs of versions that this process has no code for are left to others, and those somebody holds to the next time.
    """
    version_ids = [version_id for (version_id,) in db.rows(VERSIONS_ARRIVED_AT) if versions.can_decide(version_id)]
    return arrive_in([run_id for (run_id,) in db.rows(RUNS_ARRIVED_AT, [version_ids, limit])]) if version_ids else 0


def arrive_in(run_ids: Sequence[UUID], *, wait_ms: int | None = None) -> int:
    """Count the due arrivals of some runs; as `arrive_due`. wait_ms: how long to wait for a run that is held.

    A run in which what follows is refused fails for it, alone.
    """
    fail = partial(isolation.fail_run, wait_ms=wait_ms)
    return isolation.each_apart(run_ids, partial(_arrive, wait_ms), fail)


def _arrive(wait_ms: int | None, run_ids: Sequence[UUID]) -> int:
    due: dict[UUID, list[NewArrival]] = defaultdict(list)
    with db.atomic():
        runs = {key: run for key, run in lock_runs(run_ids, wait_ms=wait_ms).items() if run.status == RUNNING}
        for _, run_id, *columns in sorted(db.rows(TAKE_DUE, [list(runs)])):
            due[run_id].append(NewArrival(*columns))
        advance, inputs = Advance(), read_inputs(due)
        for run_id, arrivals in due.items():
            advance.decide(runs[run_id], input=payload.loads(inputs[run_id]), arrivals=arrivals)
        advance.finish(due)
    return sum(map(len, due.values()))
