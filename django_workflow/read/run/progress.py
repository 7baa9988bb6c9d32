"""How far a run is, as counts of tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import outputs, versions
from django_workflow.exceptions import RunNotFound
from django_workflow.statuses import CANCELLED, FAILED, RUN_TERMINAL, RUNNING, SKIPPED, STEP_TERMINAL, SUCCEEDED


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


@dataclass(frozen=True, slots=True)
class _StepRow:
    """The counters of one step run."""

    step: str
    status: str
    task_count: int
    open_tasks: int
    failed_count: int
    error: str | None
    succeeded: int | None

    @property
    def size(self) -> int:
        return max(1, self.task_count)

    @property
    def settled(self) -> int:
        return self.size if self.status in STEP_TERMINAL else self.task_count - self.open_tasks

    @property
    def done(self) -> int:
        """Tasks that succeeded or were skipped."""
        if self.status in (FAILED, CANCELLED):
            return self.succeeded or 0  # its counters do not tell these from those that its end cancelled
        return self.settled - self.failed_count


# one statement, so that run and steps are of one moment; the counters tell what tasks would, but for a map that ended
# before all of its tasks
READ_STANDING = """
    SELECT r.status, r.version_id, r.error, r.output,
           s.step, s.status, s.task_count, s.open_tasks, s.failed_count, s.error,
           CASE WHEN s.status IN ('failed', 'cancelled') AND s.task_count > 1 THEN (
               SELECT count(*) FROM django_workflow_task t WHERE t.step_run_id = s.id AND t.status = 'succeeded') END
    FROM django_workflow_run r LEFT JOIN django_workflow_steprun s ON s.run_id = r.id
    WHERE r.id = %s::uuid ORDER BY s.id
"""


def run_status(run_id: UUID) -> RunStatus:
    """Read how far a run is: one statement, and the outputs of its leaf steps once it is settled.

    Raises `RunNotFound`.
    """
    found = db.rows(READ_STANDING, [run_id])
    if not found:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    status, version_id, error, declared = found[0][:4]
    rows = [_StepRow(*row[4:]) for row in found if row[4] is not None]
    spec = versions.readable_spec(version_id)
    is_settled = status in RUN_TERMINAL
    made, to_come = sum(row.size for row in rows), _steps_to_come(spec, rows)
    settled = sum(row.settled for row in rows)
    return RunStatus(
        status=status,
        total=made if is_settled else made + to_come,
        settled=settled,
        failed=sum(row.failed_count for row in rows),
        percentage=_percentage(spec, status, sum(row.done for row in rows), made + to_come),
        current_steps=_in_order(spec, {row.step for row in rows if row.status == RUNNING}),
        output=outputs.run_output(run_id, spec, payload.loads(declared)) if is_settled and spec is not None else None,
        errors=_errors(rows, error),
    )


def _steps_to_come(spec: FlowSpec | None, rows: Iterable[_StepRow]) -> int:
    return 0 if spec is None else len(set(spec.steps).difference(row.step for row in rows))


def _percentage(spec: FlowSpec | None, status: str, done: int, total: int) -> float | None:
    if status == SUCCEEDED:
        return 100.0
    if spec is None or spec.has_loops:
        return None  # nobody knows how often a loop will turn, or would have
    return 100.0 * done / total if total else 0.0


def _in_order(spec: FlowSpec | None, steps: set[str]) -> list[str]:
    return sorted(steps) if spec is None else [name for name in spec.steps if name in steps]


def _errors(rows: Iterable[_StepRow], error: str | None) -> list[dict[str, Any]]:
    """Return the errors of steps; where there are none, what ended the run."""
    texts = [row.error for row in rows if row.status in (FAILED, SKIPPED)]
    told = [payload.loads(text) for text in texts if text is not None]
    return told or ([payload.loads(error)] if error is not None else [])
