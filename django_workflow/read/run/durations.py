"""When a worker began a run, how long it waited and ran, and whether it waits for a worker that nobody started.

A run starts, and a step is reached, before a worker begins its first task: what lies between is waiting. No column
tells that moment, for writing it would cost each claim; it is read of the first few tasks and their attempts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django_workflow import db
from django_workflow.models import Run, StepRun
from django_workflow.read.workers import IS_LIVE
from django_workflow.statuses import CANCELLED, PAUSED, RUN_TERMINAL, TIMED_OUT

#: Steps of a run that are looked at, and tasks of each step: workers take the first ones first.
FIRST_STEPS: Final = 6
FIRST_TASKS: Final = 20
#: Activations of a run that are looked at for tasks that wait, and tasks of each: workers take the last ones last.
WAITING_STEPS: Final = 200
LAST_TASKS: Final = 20

_BEGUN_TASK = "least(t.begun_at, (SELECT min(a.begun_at) FROM django_workflow_attempt a WHERE a.task_id = t.id))"
#: When a worker began the first task of an activation, whose id stands for `{step}`.
STEP_BEGUN: Final = f"""(
    SELECT min({_BEGUN_TASK})
    FROM (SELECT id, begun_at FROM django_workflow_task
          WHERE step_run_id = {{step}} AND origin = '' ORDER BY index LIMIT {FIRST_TASKS}) t
)"""  # noqa: S608  a constant
#: When a worker began the first task of a run, whose row is `{run}`. What a retry carries over began in another run.
RUN_BEGUN: Final = f"""(
    SELECT min({_BEGUN_TASK})
    FROM (SELECT id FROM django_workflow_steprun
          WHERE run_id = {{run}}.id AND scope = 0 AND iteration = 1
            AND (ended_at IS NULL OR ended_at >= {{run}}.created_at)
          ORDER BY id LIMIT {FIRST_STEPS}) s
    CROSS JOIN LATERAL (
        SELECT id, begun_at FROM django_workflow_task
        WHERE step_run_id = s.id AND origin = '' ORDER BY index LIMIT 3
    ) t
)"""  # noqa: S608  a constant
#: A queue in which a task of a run waits, whose row is `{run}`, and that no live worker serves; else null.
UNSERVED: Final = f"""(
    SELECT t.queue
    FROM (SELECT id, status FROM django_workflow_steprun
          WHERE run_id = {{run}}.id AND {{run}}.status = 'running' AND NOT {{run}}.is_local LIMIT {WAITING_STEPS}) s
    CROSS JOIN LATERAL (
        SELECT queue FROM (SELECT queue, status FROM django_workflow_task
                           WHERE step_run_id = s.id ORDER BY index DESC LIMIT {LAST_TASKS}) last
        WHERE status = 'queued' LIMIT 1
    ) t
    WHERE s.status = 'running' AND NOT EXISTS (
        SELECT 1 FROM django_workflow_worker w
        WHERE {IS_LIVE} AND w.queues @> to_jsonb(t.queue))
    LIMIT 1
)"""  # noqa: S608  a constant


#: Seconds that steps took in earlier runs of a flow, by step; the parameters: flow, run, steps. Of at most 50 runs that
#: succeeded among the last 200, found by the index on (flow, id).
MEDIANS: Final = """
    SELECT s.step, percentile_cont(0.5) WITHIN GROUP (
               ORDER BY extract(epoch FROM s.ended_at - s.started_at)::float8) AS seconds
    FROM (SELECT id FROM (SELECT id, status FROM django_workflow_run
                          WHERE flow_id = %s::bigint AND id < %s::uuid ORDER BY id DESC LIMIT 200) recent
          WHERE status = 'succeeded' ORDER BY id DESC LIMIT 50) r
    CROSS JOIN unnest(%s::text[]) AS w(step)
    JOIN django_workflow_steprun s ON s.run_id = r.id AND s.step = w.step AND s.scope = 0 AND s.iteration = 1
    WHERE s.status = 'succeeded' AND s.started_at IS NOT NULL
    GROUP BY s.step
"""


@dataclass(frozen=True, slots=True)
class Spans:
    """How long a run waited for its first worker, and ran since; None at the end of what goes on.

    Pauses are in neither span.
    """

    #: When a worker began its first task; None where none has.
    begun_at: datetime | None = None
    waits_from: datetime | None = None
    waits_to: datetime | None = None
    runs_from: datetime | None = None
    runs_to: datetime | None = None


def spans_of(run: Run, begun_at: datetime | None) -> Spans:
    """Return a run's spans; a paused run's clock stands still."""
    end = clock_end(run)
    if run.started_at is None:
        return Spans()
    if begun_at is None and run.status in RUN_TERMINAL and run.status not in (CANCELLED, TIMED_OUT):
        begun_at = run.started_at  # it had nothing for a worker to do, or nothing among what was looked at
    paused = timedelta(seconds=run.paused_seconds)
    if begun_at is None:
        return Spans(None, run.started_at + paused, end)
    return Spans(begun_at, run.started_at, begun_at, begun_at + paused, end)


def clock_end(run: Run) -> datetime | None:
    """Return when a run's clock stopped: with its end or a pause; None while it goes on."""
    if run.status == PAUSED or (run.status in (CANCELLED, TIMED_OUT) and run.paused_at is not None):
        return run.paused_at
    return run.ended_at


READ = f"""
    SELECT w.id, clock_timestamp(), {RUN_BEGUN.format(run="r")}, {UNSERVED.format(run="r")}
    FROM unnest(%s::uuid[]) AS w(id) LEFT JOIN django_workflow_run r ON r.id = w.id
"""  # noqa: S608  a constant


READ_STEPS = f"""
    SELECT s.id, {STEP_BEGUN.format(step="s.id")} FROM django_workflow_steprun s WHERE s.id = ANY(%s::bigint[])
"""  # noqa: S608  a constant


def read_begins(steps: Sequence[StepRun]) -> dict[int, datetime | None]:
    """Return when a worker began the first task of each of some activations, by their ids: one statement."""
    return dict(db.rows(READ_STEPS, [[step.pk for step in steps]])) if steps else {}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands, as lists show it."""

    #: The database's time at which this was read.
    read_at: datetime
    #: How long it waited and ran.
    spans: Spans
    #: The queue in which a task of it waits that no live worker serves, or "".
    unserved: str


def read(runs: Sequence[Run]) -> dict[UUID, Standing]:
    """Return how some runs stand, by their ids: one statement."""
    if not runs:
        return {}
    by_id = {run.pk: run for run in runs}
    return {
        run_id: Standing(read_at, spans_of(by_id[run_id], begun_at), unserved or "")
        for run_id, read_at, begun_at, unserved in db.rows(READ, [list(by_id)])
    }
