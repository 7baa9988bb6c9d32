"""A claimed task: what a worker holds of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_workflow import db
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import OUTERMOST
from django_workflow.engine.stored.outputs import StepOutput

#: Attempts by what they are known by.
FENCES = db.Columns("h", id="bigint", lease_id="bigint")


@dataclass(slots=True, eq=False)
class ClaimedTask:
    """A task this worker holds the lease of, with all its handler needs.

    is_begun: its begin is recorded, so losing it counts as a failure.
    is_lost: another worker had it and did not extend its lease; it begins only after that has been settled.
    source_id: the step run that led to its own. worker_id: of this attempt. lost_worker_id: of the one that was lost.
    age: seconds since the task was made.
    input, variables: JSON text, where the handler asks for it. is_input_read: the input is here.
    dependencies: outputs that the handler takes by name. sources: the steps whose outputs were looked for.
    """

    id: int
    run_id: UUID
    step_run_id: int
    message_id: int | None
    lease_id: int
    index: int
    attempt: int
    failure_count: int
    lost_count: int
    item: str | None
    spec: FlowSpec
    step: StepSpec
    iteration: int
    queue: str
    age: float
    is_begun: bool
    is_lost: bool = False
    is_local: bool = False
    lost_lease_id: int | None = None
    input: str | None = None
    scope: int = OUTERMOST
    source_id: int | None = None
    variables_id: int | None = None
    variables: str | None = None
    worker_id: int | None = None
    lost_worker_id: int | None = None
    dependencies: Mapping[str, StepOutput] = field(default_factory=dict)
    is_input_read: bool = False
    sources: tuple[str, ...] = ()

    @property
    def fence(self) -> tuple[int, int]:
        """What this attempt is known by: one process may hold two attempts of a task, an old and a new one."""
        return self.id, self.lease_id


@dataclass(slots=True)
class OpenClaim:
    """The tasks that a claim may have taken, until whoever claims has them in hand."""

    lease_id: int
    task_ids: list[int] = field(default_factory=list)


def log_fields(task: ClaimedTask) -> dict[str, Any]:
    """Return the stable keys of structured log records about a task; never its payload."""
    return {
        "run_id": str(task.run_id),
        "flow": task.spec.slug,
        "step": task.step.name,
        "queue": task.queue,
        "task": task.id,
        "attempt": task.attempt,
    }
