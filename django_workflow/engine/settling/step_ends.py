"""Step runs count down their open tasks, and end with the last one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any
from uuid import UUID

from django_workflow import db
from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.engine.routing.facts import Error, StepEnd
from django_workflow.engine.stored.locking import LockedRun
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.statuses import FAILED, RUNNING, SKIPPED, SKIPPED_BY_HANDLER, SUCCEEDED, TASK_TERMINAL

HANDLER_FAILED = "handler_failed"


@dataclass(slots=True)
class StepEnds:
    """What became of the step runs of a pile.

    ended: steps that became terminal, by run. closed: step runs whose other tasks must stop.
    freed: places that became free in step runs with `max_parallel`.
    """

    ended: dict[UUID, list[StepEnd]] = field(default_factory=lambda: defaultdict(list))
    closed: list[int] = field(default_factory=list)
    freed: dict[int, tuple[int, LockedRun]] = field(default_factory=dict)


@dataclass(slots=True)
class _Count:
    """A step run being counted down, and what its row becomes."""

    id: int
    open_tasks: int
    task_count: int
    failed_count: int
    status: str = RUNNING
    reason: str = ""
    message: str = ""
    #: JSON text.
    error: str | None = None


READ_STEP_RUNS = f"""
    SELECT {db.select(_Count, id="id", open_tasks="open_tasks", task_count="task_count", failed_count="failed_count")}
    FROM django_workflow_steprun WHERE id = ANY(%s::bigint[]) AND status = 'running'
"""
COUNTED = db.Columns(
    "n", id="bigint", status="text", open_tasks="int", failed_count="int", reason="text", message="text", error="text"
)
UPDATE_STEP_RUNS = f"""
    UPDATE django_workflow_steprun s
    SET status = n.status, open_tasks = n.open_tasks, failed_count = n.failed_count, reason = n.reason,
        message = n.message, error = n.error::jsonb,
        ended_at = CASE WHEN n.status <> 'running' THEN statement_timestamp() END
    FROM {COUNTED}
    WHERE s.id = n.id
"""


def end_step_runs(endings: Sequence[Ending], events: EventLog) -> StepEnds:
    """Count step runs down by their ended tasks and write them; the runs' locks are held."""
    over: dict[int, list[Ending]] = defaultdict(list)
    for item in endings:
        if item.status in TASK_TERMINAL:
            over[item.outcome.task.step_run_id].append(item)
    counts = _read_counts(over)
    result = StepEnds()
    for step_run_id, items in over.items():
        if step_run_id in counts:  # else the step ended while these tasks were being handed in
            _end_step_run(items, counts[step_run_id], result, events)
    if counts:
        db.add(UPDATE_STEP_RUNS, COUNTED.of(list(counts.values())))
    return result


def _read_counts(over: dict[int, list[Ending]]) -> dict[int, _Count]:
    """Return the counters of step runs; one with a single task needs no read."""
    counts = {key: _Count(key, 1, 1, 0) for key, items in over.items() if items[0].outcome.task.step.kind != MAP}
    maps = [key for key in over if key not in counts]
    if maps:
        counts |= {count.id: count for count in starmap(_Count, db.rows(READ_STEP_RUNS, [maps]))}
    return counts


def _end_step_run(items: list[Ending], count: _Count, result: StepEnds, events: EventLog) -> None:
    """Count one step run down and judge it."""
    task = items[0].outcome.task
    step, run = task.step, items[0].run
    failures = [item for item in items if item.status == FAILED]
    count.open_tasks -= len(items)
    count.failed_count += len(failures)
    end: StepEnd | None = None
    error: Error | None = None
    if failures and not is_tolerated(step, count):
        error = failures[0].error
        end = _exhausted(task, error)
        end.ends_run = failures[0].outcome.ends_run
        count.reason = HANDLER_FAILED if end.status == SKIPPED else ""
    elif step.kind != MAP and items[0].status == SKIPPED:
        end = _step_end(task, SKIPPED)
        count.reason, count.message = SKIPPED_BY_HANDLER, items[0].outcome.words
    elif count.open_tasks == 0:
        end = _step_end(task, SUCCEEDED)
    if end is None:
        if step.max_parallel is not None:
            result.freed[count.id] = (len(items), run)
        return
    if count.open_tasks:
        result.closed.append(count.id)
    result.ended[task.run_id].append(end)
    kind = "completed" if end.status == SUCCEEDED else end.status
    why = {"reason": count.reason} if count.reason else None
    if why and count.message:
        why["message"] = count.message
    events.step(task.run_id, f"step.{kind}", step.name, error or why)
    count.status, count.open_tasks = end.status, 0
    count.error = json.dumps(error) if error else None


def is_tolerated(step: StepSpec, count: _Count) -> bool:
    """Say whether a map may have as many failed items as it has; below 1 the limit is a share."""
    if step.kind != MAP or step.tolerate is None:
        return False
    limit = step.tolerate * count.task_count if 0 < step.tolerate < 1 else step.tolerate
    return count.failed_count <= limit


def _exhausted(task: ClaimedTask, error: Error) -> StepEnd:
    """What a step does that has no attempt left."""
    if task.step.on_exhausted == "fail":
        return _step_end(task, FAILED, error=error)
    return _step_end(task, SKIPPED, is_cascade=task.step.on_exhausted == "skip_cascade", error=error)


def _step_end(task: ClaimedTask, status: str, **more: Any) -> StepEnd:
    """Return the end of the step run that a task belongs to."""
    return StepEnd(
        task.step.name, status, id=task.step_run_id, scope=task.scope, iteration=task.iteration,
        variables=task.variables_id, **more,
    )  # fmt: skip
