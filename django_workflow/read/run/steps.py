"""Where each step of a run stands: its step run to show, and counts of all its step runs, in one statement."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.elements import MAP
from django_workflow.definition.spec import FlowSpec
from django_workflow.read.run.durations import STEP_BEGUN
from django_workflow.read.run.task_counts import COUNTED, NONE, Tally, tallies
from django_workflow.statuses import (
    CANCELLED,
    FAILED,
    HELD,
    QUEUED,
    RUNNING,
    SKIPPED,
    STEP_TERMINAL,
    SUCCEEDED,
    SUSPENDED,
    WAITING,
)

#: What a step that the run has not reached has for a status: it has no row.
NOT_REACHED: Final = "not_reached"


@dataclass(slots=True)
class StepFacts:
    """One step run of a step: one that runs, else one that waits, else the newest that began; and all together."""

    step: str
    is_map: bool = False
    id: int | None = None
    scope: int = 0
    iteration: int = 1
    source_id: int | None = None
    variables_id: int | None = None
    status: str = NOT_REACHED
    task_count: int = 0
    open_tasks: int = 0
    failed_count: int = 0
    created_at: datetime | None = None
    #: When it was reached.
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    message: str = ""
    error: dict[str, Any] | None = None
    #: How many step runs there are, as all that follows of all of them; in how many scopes.
    passes: int = 0
    scopes: int = 0
    #: To how many of them another step run led.
    led: int = 0
    #: How many run, and how many wait.
    open_passes: int = 0
    waiting_passes: int = 0
    #: Their tasks; those that are over, that failed, that succeeded or were skipped.
    sizes: int = 0
    over: int = 0
    failures: int = 0
    succeeded: int = 0
    began_at: datetime | None = None
    #: How many have started.
    begun: int = 0
    #: Joins that the end of the run found waiting. They never began, and count nowhere else.
    left_over: int = 0
    #: When the last of them ended; the newest of them.
    last_ended_at: datetime | None = None
    newest_id: int | None = None
    #: How many ended so; others were cancelled.
    failed_passes: int = 0
    skipped_passes: int = 0
    succeeded_passes: int = 0
    #: The last one in the outermost scope, whose output is the step's for the run.
    outer_id: int | None = None
    outer_status: str | None = None
    #: Who has reached the join that waits longest, in which generation.
    arrived: list[str] | None = None
    generation: int | None = None
    #: When a worker began the first task of the one shown.
    begun_at: datetime | None = None
    #: Where the tasks of those that run stand.
    tally: Tally = NONE

    @property
    def is_settled(self) -> bool:
        """Whether it has ended."""
        return self.status in STEP_TERMINAL

    @property
    def shown(self) -> str:
        """The status to show: of a running step, where its tasks stand."""
        tally = self.tally
        if self.status != RUNNING or tally.running:
            return self.status
        if tally.suspended:
            return SUSPENDED
        if tally.queued:
            return QUEUED
        return HELD if tally.paused or tally.parallel else self.status

    @property
    def statuses(self) -> dict[str, int]:
        """How many step runs have each status that any of them has, what tells most first."""
        ended = self.failed_passes + self.skipped_passes + self.succeeded_passes
        counts = {
            RUNNING: self.open_passes,
            WAITING: self.waiting_passes,
            FAILED: self.failed_passes,
            CANCELLED: self.passes - self.open_passes - self.waiting_passes - ended,
            SKIPPED: self.skipped_passes,
            SUCCEEDED: self.succeeded_passes,
        }
        return {status: count for status, count in counts.items() if count}

    @property
    def done(self) -> int:
        """How many of its tasks are over."""
        return self.task_count - self.open_tasks

    @property
    def together(self) -> tuple[int, int, int]:
        """Its tasks that are over, all of them, and those that failed: of all passes, as the run's head counts them."""
        if self.passes > 1:
            return self.over, self.sizes, self.failures
        return self.done, self.task_count, self.failed_count


#: The columns of a step run behind its step's name, as `StepFacts` calls them.
OF_ONE: Final = (
    "id", "scope", "iteration", "source_id", "variables_id", "status", "task_count", "open_tasks", "failed_count",
    "created_at", "started_at", "ended_at", "reason", "message", "error",
)  # fmt: skip
#: The columns that follow in `READ_STEPS`, before those of the tally.
OF_ALL: Final = (
    "passes", "scopes", "led", "open_passes", "waiting_passes", "sizes", "over", "failures", "succeeded", "began_at",
    "begun", "left_over", "last_ended_at", "newest_id", "failed_passes", "skipped_passes", "succeeded_passes",
    "outer_id", "outer_status", "arrived", "generation", "begun_at",
)  # fmt: skip
#: How many tasks a step run has, whose row is `s`; how many are over; and how many of these succeeded or were skipped,
#: but for one that failed or was cancelled: its counters do not tell these from those that its end cancelled.
SIZE: Final = "greatest(1, s.task_count)"
OVER: Final = f"CASE WHEN s.status IN ('waiting', 'running') THEN s.task_count - s.open_tasks ELSE {SIZE} END"
DONE: Final = f"""
    CASE WHEN s.status IN ('succeeded', 'skipped') THEN {SIZE}
         WHEN s.status = 'running' THEN s.task_count - s.open_tasks END - s.failed_count
"""
#: Whether a step run is a join that was cancelled while it waited: it did nothing, and counts nowhere.
IS_LEFT: Final = "s.status = 'cancelled' AND s.started_at IS NULL"
# rows are counted where they are, however many, and never sorted: what comes out is a row for each step. The one to
# show is the greatest by what it does, when it was made, and its id; in each scope the first has iteration 1.
# In a long loop as many joins are left over as there are passes.
# OFFSET 0 keeps the order of the joins also where the planner's statistics know of no rows: it would count for each row
READ_STEPS = f"""
    WITH c AS MATERIALIZED (
        SELECT step, count(*) FILTER (WHERE NOT is_left) AS passes,
               count(*) FILTER (WHERE iteration = 1 AND NOT is_left) AS scopes, count(source_id) AS led,
               count(*) FILTER (WHERE status = 'running') AS open_passes,
               count(*) FILTER (WHERE status = 'waiting') AS waiting_passes,
               coalesce(sum({SIZE}) FILTER (WHERE NOT is_left), 0) AS sizes,
               coalesce(sum({OVER}) FILTER (WHERE NOT is_left), 0) AS over,
               sum(failed_count) AS failures, coalesce(sum({DONE}) FILTER (WHERE NOT is_left), 0) AS succeeded,
               (array_agg(id) FILTER (WHERE status IN ('failed', 'cancelled') AND task_count > 1))[1:1000] AS cut_ids,
               min(started_at) AS began_at, count(started_at) AS begun,
               count(*) FILTER (WHERE is_left) AS left_over, max(ended_at) AS last_ended_at, max(id) AS newest_id,
               count(*) FILTER (WHERE status = 'failed') AS failed_passes,
               count(*) FILTER (WHERE status = 'skipped') AS skipped_passes,
               count(*) FILTER (WHERE status = 'succeeded') AS succeeded_passes,
               max(ARRAY[CASE WHEN status = 'running' THEN 3 WHEN status = 'waiting' THEN 2
                              WHEN is_left THEN 0 ELSE 1 END,
                         date_part('epoch', created_at), id]) AS shown,
               max(ARRAY[iteration, id]) FILTER (WHERE scope = 0) AS outermost,
               (array_agg(id) FILTER (WHERE status = 'running'))[1:1000] AS open_ids,
               min(ARRAY[date_part('epoch', created_at), id]) FILTER (WHERE status = 'waiting') AS longest
        FROM (SELECT *, {IS_LEFT} AS is_left FROM django_workflow_steprun s WHERE run_id = %s::uuid) s
        GROUP BY step
    )
    SELECT c.step, s.id, s.scope, s.iteration, s.source_id, s.variables_id, s.status, s.task_count, s.open_tasks,
           s.failed_count, s.created_at, s.started_at, s.ended_at, s.reason, s.message, s.error, c.passes, c.scopes,
           c.led, c.open_passes, c.waiting_passes, c.sizes, c.over, c.failures, c.succeeded + d.count,
           c.began_at, c.begun, c.left_over, c.last_ended_at, c.newest_id, c.failed_passes,
           c.skipped_passes, c.succeeded_passes, o.id, o.status, a.sources, a.generation,
           {STEP_BEGUN.format(step="s.id")}, t.queued, t.delayed, t.due_at, t.parallel, t.paused, t.running, t.suspended
    FROM c
    CROSS JOIN LATERAL (SELECT * FROM django_workflow_steprun WHERE id = c.shown[3]::bigint OFFSET 0) s
    CROSS JOIN LATERAL (
        SELECT {COUNTED} FROM django_workflow_task WHERE %s::bool AND step_run_id = ANY(c.open_ids)
    ) t
    CROSS JOIN LATERAL (
        SELECT count(*) FROM django_workflow_task WHERE step_run_id = ANY(c.cut_ids) AND status = 'succeeded'
    ) d
    LEFT JOIN LATERAL (SELECT * FROM django_workflow_steprun WHERE id = c.outermost[2] OFFSET 0) o ON true
    LEFT JOIN LATERAL (SELECT * FROM django_workflow_steprun WHERE id = c.longest[2]::bigint OFFSET 0) w ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(source ORDER BY id) AS sources, min(generation) AS generation FROM django_workflow_arrival
        WHERE run_id = %s::uuid AND step = w.step AND scope = w.scope AND step_run_id = w.id
    ) a ON w.id IS NOT NULL
    ORDER BY s.id
"""  # noqa: S608  a constant


def read_rows(run_id: UUID, spec: FlowSpec) -> dict[str, StepFacts]:
    """Read where each step that has a row stands."""
    known = tallies.of(run_id)
    began = time.monotonic()
    rows = db.rows(READ_STEPS, [run_id, known is None, run_id])
    seconds = time.monotonic() - began
    found = {}
    names = (*OF_ONE, *OF_ALL)
    for name, *columns in rows:
        step = spec.steps.get(name)
        values: dict[str, Any] = dict(zip(names, columns, strict=False))
        values["error"] = payload.loads(values["error"])
        tally = Tally(*columns[len(names) :])
        found[name] = StepFacts(name, step is not None and step.kind == MAP, **values, tally=tally)
    if known is None:
        known = {name: step.tally for name, step in found.items()}
        tallies.keep(run_id, known, sum(step.sizes for step in found.values() if step.open_passes), seconds)
    for name, step_facts in found.items():
        step_facts.tally = known.get(name, NONE) if step_facts.open_passes else NONE
    return found


def of_flow(spec: FlowSpec, found: Mapping[str, StepFacts]) -> dict[str, StepFacts]:
    """Return the steps of a flow in its order, those without a row, too."""
    return {name: found.get(name) or StepFacts(name, step.kind == MAP) for name, step in spec.steps.items()}


def read_steps(run_id: UUID, spec: FlowSpec) -> dict[str, StepFacts]:
    """Read where each step of a flow stands; the steps in the order of the flow."""
    return of_flow(spec, read_rows(run_id, spec))


READ_STEP_RUN = f"""
    SELECT s.step, s.id, s.scope, s.iteration, s.source_id, s.variables_id, s.status, s.task_count, s.open_tasks,
           s.failed_count, s.created_at, s.started_at, s.ended_at, s.reason, s.message, s.error, a.sources,
           a.generation, {STEP_BEGUN.format(step="s.id")}, t.queued, t.delayed, t.due_at, t.parallel, t.paused,
           t.running, t.suspended
    FROM django_workflow_steprun s
    CROSS JOIN LATERAL (
        SELECT {COUNTED} FROM django_workflow_task WHERE step_run_id = s.id AND s.status = 'running'
    ) t
    CROSS JOIN LATERAL (
        SELECT array_agg(source ORDER BY id) AS sources, min(generation) AS generation
        FROM django_workflow_arrival
        WHERE run_id = s.run_id AND step = s.step AND scope = s.scope AND step_run_id = s.id
    ) a
    WHERE s.id = %s::bigint AND s.run_id = %s::uuid
"""  # noqa: S608  a constant


def read_step_run(run_id: UUID, key: int, steps: Mapping[str, StepFacts]) -> StepFacts | None:
    """Read one step run by its id; None where the run has none such."""
    names = (*OF_ONE, "arrived", "generation", "begun_at")
    for name, *columns in db.rows(READ_STEP_RUN, [key, run_id]):
        values: dict[str, Any] = dict(zip(names, columns, strict=False))
        values["error"] = payload.loads(values["error"])
        values["tally"] = Tally(*columns[len(names) :])
        # its own tasks and arrivals, and nothing of those of other step runs
        return replace(steps[name], **values, open_passes=1, waiting_passes=1) if name in steps else None
    return None


def count_by_status(step: StepFacts) -> dict[str, int]:
    """Return how many tasks of a step are in each status, as far as its counters tell."""
    counts = {
        FAILED: step.failed_count,
        RUNNING: step.tally.running,
        SUSPENDED: step.tally.suspended,
        QUEUED: step.tally.queued,
        HELD: step.tally.paused + step.tally.parallel,
    }
    over = step.done - step.failed_count
    if not step.is_settled or step.status == SUCCEEDED:
        counts[SUCCEEDED] = over
    return {status: count for status, count in counts.items() if count}
