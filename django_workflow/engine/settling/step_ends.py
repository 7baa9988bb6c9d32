"""Step runs count down their open tasks, and end with the last one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_workflow import db
from django_workflow.definition.spec import MAP, StepSpec
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
    """A step run being counted down."""

    open_tasks: int
    task_count: int
    failed_count: int


READ_STEP_RUNS = """
    SELECT id, open_tasks, task_count, failed_count FROM django_workflow_steprun
    WHERE id = ANY(%s::bigint[]) AND status = 'running'
"""
UPDATE_STEP_RUNS = """
    UPDATE django_workflow_steprun s
    SET status = n.status, open_tasks = n.open_tasks, failed_count = n.failed_count, reason = n.reason,
        message = n.message, error = n.error::jsonb,
        ended_at = CASE WHEN n.status <> 'running' THEN statement_timestamp() END
    FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::int[], %s::text[], %s::text[], %s::text[])
         AS n(id, status, open_tasks, failed_count, reason, message, error)
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
    changes: list[tuple[Any, ...]] = []
    for step_run_id, items in over.items():
        count = counts.get(step_run_id)
        if count is None:
            continue  # the step ended while these tasks were being handed in
        changes.append((step_run_id, *_end_step_run(step_run_id, items, count, result, events)))
    if changes:
        db.add(UPDATE_STEP_RUNS, [list(column) for column in zip(*changes, strict=True)])
    return result


def _read_counts(over: dict[int, list[Ending]]) -> dict[int, _Count]:
    """Return the counters of step runs; one with a single task needs no read."""
    counts = {key: _Count(1, 1, 0) for key, items in over.items() if items[0].outcome.task.step.kind != MAP}
    maps = [key for key in over if key not in counts]
    if maps:
        counts |= {row[0]: _Count(*row[1:]) for row in db.rows(READ_STEP_RUNS, [maps])}
    return counts


def _end_step_run(
    step_run_id: int, items: list[Ending], count: _Count, result: StepEnds, events: EventLog
) -> tuple[Any, ...]:
    """Count one step run down and judge it; return its new columns."""
    task = items[0].outcome.task
    step, run = task.step, items[0].run
    failures = [item for item in items if item.status == FAILED]
    count.open_tasks -= len(items)
    count.failed_count += len(failures)
    end: StepEnd | None = None
    reason, message, error = "", "", None
    if failures and not is_tolerated(step, count):
        error = failures[0].error
        end = _exhausted(task, error)
        end.ends_run = failures[0].outcome.ends_run
        reason = HANDLER_FAILED if end.status == SKIPPED else ""
    elif step.kind != MAP and items[0].status == SKIPPED:
        end, reason, message = _step_end(task, SKIPPED), SKIPPED_BY_HANDLER, items[0].outcome.words
    elif count.open_tasks == 0:
        end = _step_end(task, SUCCEEDED)
    if end is None:
        if step.max_parallel is not None:
            result.freed[step_run_id] = (len(items), run)
        return RUNNING, count.open_tasks, count.failed_count, "", "", None
    if count.open_tasks:
        result.closed.append(step_run_id)
    result.ended[task.run_id].append(end)
    kind = "completed" if end.status == SUCCEEDED else end.status
    why = {"reason": reason, "message": message} if message else {"reason": reason} if reason else None
    events.step(task.run_id, f"step.{kind}", step.name, error or why)
    return end.status, 0, count.failed_count, reason, message, json.dumps(error) if error else None


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
