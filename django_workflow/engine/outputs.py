"""Reading what settled steps gave: assembled from their tasks, never stored twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.spec import MAP, FlowSpec
from django_workflow.statuses import SUCCEEDED

#: Index of the task that holds an output an operator gave: it stands for the whole step, before any item.
WHOLE_STEP = -1

# of a step that ran several times, its latest activation counts; what an operator gave is read as it is
READ_OUTPUTS = """
    SELECT w.run_id, w.step, s.status,
           CASE WHEN s.status <> 'succeeded' THEN NULL
                WHEN w.is_map THEN coalesce(
                    (SELECT t.output FROM django_workflow_task t WHERE t.step_run_id = s.id AND t.index = -1),
                    (SELECT jsonb_agg(t.output ORDER BY t.index) FROM django_workflow_task t
                     WHERE t.step_run_id = s.id),
                    '[]'::jsonb)
                ELSE (SELECT t.output FROM django_workflow_task t WHERE t.step_run_id = s.id ORDER BY t.index LIMIT 1)
           END
    FROM unnest(%s::uuid[], %s::text[], %s::bool[]) AS w(run_id, step, is_map)
    CROSS JOIN LATERAL (
        SELECT id, status FROM django_workflow_steprun
        WHERE run_id = w.run_id AND step = w.step ORDER BY iteration DESC LIMIT 1
    ) s
"""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one step gave: its status and, where it succeeded, its output as JSON text."""

    status: str
    text: str | None

    @property
    def value(self) -> Any:
        """The output, decoded anew at each access so that nobody shares it."""
        return payload.loads(self.text) if self.status == SUCCEEDED else None


def read_outputs(wanted: Iterable[tuple[UUID, str, bool]]) -> dict[tuple[UUID, str], StepOutput]:
    """Read the outputs of steps.

    wanted: run, step and whether it is a map step.
    Returns what has been activated, by run and step.
    """
    unique = dict.fromkeys(wanted)
    if not unique:
        return {}
    runs, steps, maps = (list(column) for column in zip(*unique, strict=True))
    return {
        (run_id, step): StepOutput(status, text)
        for run_id, step, status, text in db.rows(READ_OUTPUTS, [runs, steps, maps])
    }


class RunOutputs(Mapping[str, Any]):
    """A run's outputs by step, read from the database when first asked for; only succeeded steps are in it."""

    def __init__(self, run_id: UUID, spec: FlowSpec, texts: Mapping[str, str] | None = None) -> None:
        self._run_id = run_id
        self._spec = spec
        self._texts = texts or {}
        self._known: dict[str, Any] = {}

    def __getitem__(self, step: str) -> Any:
        if step in self._texts and step not in self._known:
            self._known[step] = payload.loads(self._texts[step])
        if step not in self._known:
            if step not in self._spec.steps:
                raise KeyError(step)
            is_map = self._spec.steps[step].kind == MAP
            found = read_outputs([(self._run_id, step, is_map)]).get((self._run_id, step))
            if found is None or found.status != SUCCEEDED:
                raise KeyError(step)
            self._known[step] = found.value
        return self._known[step]

    def __iter__(self) -> Iterator[str]:
        return (step for step in self._spec.steps if step in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


READ_INPUTS = "SELECT id, input FROM django_workflow_run WHERE id = ANY(%s::uuid[])"


def read_inputs(run_ids: Iterable[UUID]) -> dict[UUID, str | None]:
    """Read the inputs of runs as JSON text."""
    unique = list(dict.fromkeys(run_ids))
    return dict(db.rows(READ_INPUTS, [unique])) if unique else {}


def run_output(run_id: UUID, spec: FlowSpec) -> dict[str, Any]:
    """Assemble a run's output: what its leaf steps that succeeded gave."""
    found = read_outputs((run_id, leaf, spec.steps[leaf].kind == MAP) for leaf in spec.leaves)
    return {step: output.value for (_, step), output in found.items() if output.status == SUCCEEDED}


READ_FAILURES = """
    SELECT t.index, a.error_class, a.message
    FROM django_workflow_steprun s
    JOIN django_workflow_task t ON t.step_run_id = s.id AND t.status = 'failed'
    JOIN LATERAL (SELECT error_class, message FROM django_workflow_attempt
                  WHERE task_id = t.id ORDER BY number DESC, id DESC LIMIT 1) a ON true
    WHERE s.run_id = %s AND s.step = %s ORDER BY s.iteration, t.index
"""


def read_failures(run_id: UUID, step: str) -> list[dict[str, Any]]:
    """Return index, class and message of the tasks of a step that failed for good."""
    return [
        {"index": index, "class": error_class, "message": message}
        for index, error_class, message in db.rows(READ_FAILURES, [run_id, step])
    ]
