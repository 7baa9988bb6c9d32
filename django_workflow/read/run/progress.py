"""How far a run is, as counts of tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import outputs, versions
from django_workflow.exceptions import RunNotFound
from django_workflow.read.run.steps import DONE, IS_LEFT, OVER, SIZE
from django_workflow.statuses import RUN_TERMINAL, SUCCEEDED


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    #: The run's.
    status: str
    #: Tasks made so far, one for each step that was skipped or still waits, and, while the run is not settled, one for
    #: each step not reached yet; it grows when a map step begins.
    total: int
    #: How many of these are over, however they ended.
    settled: int
    #: Tasks that failed for good.
    failed: int
    #: What was done, of all the tasks that the run has or would have had; 100 for a run that succeeded; None for
    #: another one with loops.
    percentage: float | None
    #: Names of the steps that are running, in the order of the flow.
    current_steps: list[str]
    #: Of a settled run, by leaf step, else None.
    output: dict[str, Any] | None
    #: Records of the failures so far, with step, class and message.
    errors: list[dict[str, Any]]


# one statement, so that run and steps are of one moment
READ_STANDING = f"""
    SELECT r.status, r.version_id, r.error, r.output, s.*
    FROM django_workflow_run r CROSS JOIN LATERAL (
        SELECT coalesce(sum({SIZE}), 0), coalesce(sum({OVER}), 0), coalesce(sum(s.failed_count), 0),
               coalesce(sum({DONE}), 0) + coalesce(sum(
                   CASE WHEN s.status IN ('failed', 'cancelled') AND s.task_count > 1 THEN (
                       SELECT count(*) FROM django_workflow_task t
                       WHERE t.step_run_id = s.id AND t.status = 'succeeded') END), 0),
               array_agg(DISTINCT s.step), array_agg(DISTINCT s.step) FILTER (WHERE s.status = 'running'),
               jsonb_agg(s.error ORDER BY s.id) FILTER (WHERE s.status IN ('failed', 'skipped') AND s.error IS NOT NULL)
        FROM django_workflow_steprun s WHERE s.run_id = r.id AND NOT ({IS_LEFT})
    ) s WHERE r.id = %s::uuid
"""  # noqa: S608  a constant


def run_status(run_id: UUID) -> RunStatus:
    """Read how far a run is: one statement, and the outputs of its leaf steps once it is settled.

    Raises `RunNotFound`.
    """
    rows = db.rows(READ_STANDING, [run_id])
    if not rows:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    status, version_id, error, declared, made, settled, failed, done, reached, running, errors = rows[0]
    spec = versions.readable_spec(version_id)
    is_settled = status in RUN_TERMINAL
    to_come = len(set(spec.steps).difference(reached or ())) if spec is not None else 0
    return RunStatus(
        status=status,
        total=int(made) + (0 if is_settled else to_come),
        settled=int(settled),
        failed=int(failed),
        percentage=_percentage(spec, status, int(done), int(made) + to_come),
        current_steps=_in_order(spec, set(running or ())),
        output=outputs.run_output(run_id, spec, payload.loads(declared)) if is_settled and spec is not None else None,
        errors=payload.loads(errors) or ([payload.loads(error)] if error is not None else []),
    )


def _percentage(spec: FlowSpec | None, status: str, done: int, total: int) -> float | None:
    if status == SUCCEEDED:
        return 100.0
    if spec is None or spec.has_loops:
        return None  # nobody knows how often a loop will turn, or would have
    return 100.0 * done / total if total else 0.0


def _in_order(spec: FlowSpec | None, steps: set[str]) -> list[str]:
    return sorted(steps) if spec is None else [name for name in spec.steps if name in steps]
