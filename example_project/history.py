"""What happened in a run, told from its rows: one line per attempt, and one per step that was skipped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django_workflow.models import Attempt, Run, StepRun, Task
from django_workflow.statuses import SKIPPED, SUCCEEDED


@dataclass(frozen=True)
class Entry:
    """One line of a history.

    step: with the item's index in a map step. attempt: None where nothing was executed.
    began: since the run was started; took: None where it did not begin.
    """

    step: str
    attempt: int | None
    outcome: str
    began: timedelta | None
    took: timedelta | None
    note: str = ""


def history(run_id: UUID) -> list[Entry]:
    """Return what happened in a run, in the order in which it happened."""
    start = Run.objects.get(pk=run_id).created_at
    steps = {step.pk: step for step in StepRun.objects.filter(run_id=run_id)}
    tasks = {task.pk: task for task in Task.objects.filter(step_run__in=steps)}
    entries = [_of_skip(step, start) for step in steps.values() if step.status == SKIPPED]
    entries += [
        _of_attempt(attempt, _name(steps, tasks[attempt.task_id]), start)
        for attempt in Attempt.objects.filter(task__in=tasks)
    ]
    entries += [_of_success(task, _name(steps, task), start) for task in tasks.values() if task.status == SUCCEEDED]
    return sorted(entries, key=lambda entry: entry.began or timedelta.max)


def _name(steps: dict[int, StepRun], task: Task) -> str:
    step = steps[task.step_run_id]
    return f"{step.step}[{task.index}]" if step.task_count > 1 else step.step


def _of_skip(step: StepRun, start: datetime) -> Entry:
    return Entry(step.step, None, SKIPPED, _since(start, step.ended_at), None, step.message or step.reason)


def _of_attempt(attempt: Attempt, name: str, start: datetime) -> Entry:
    """An attempt that did not succeed has a row of its own, with its error."""
    error = attempt.error_class.rpartition(".")[2]
    note = f"{error}: {attempt.message}" if error else attempt.message
    began = attempt.begun_at or attempt.ended_at
    return Entry(
        name, attempt.number, attempt.outcome, _since(start, began), _since(attempt.begun_at, attempt.ended_at), note
    )


def _of_success(task: Task, name: str, start: datetime) -> Entry:
    """The attempt that succeeded is the task itself."""
    return Entry(name, task.attempt, SUCCEEDED, _since(start, task.begun_at), _since(task.begun_at, task.ended_at))


def _since(start: datetime | None, end: datetime | None) -> timedelta | None:
    return None if start is None or end is None else end - start
