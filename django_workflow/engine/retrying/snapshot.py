"""Retrying a run whose flow decides on its way: all that has been stays as it was, what was open at its end is redone.

In a flow with loops, branches or variables no step has one result that could be carried over. But every activation
knows what led to it, every arrival which activation it counts for, and variables never change. So the new run is the
old one as it stood when it ended, with the activations that were open then begun anew. The decision that failed the
run came to nothing, also for other steps that ended with it: it has told of each what a retry does, and is made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.elements import MAP
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.retrying.planning import cascades
from django_workflow.engine.routing.facts import FINAL, FOLLOW, LEAVE, OUTERMOST, REDO, Again, StepEnd
from django_workflow.statuses import CANCELLED, FAILED, SKIPPED, SUCCEEDED


@dataclass(frozen=True, slots=True)
class Activated:
    """One activation of the run that is retried.

    on_retry: what the decision that failed the run has told of it. was_begun: it did not only wait at its join.
    has_results: some of its items have a result. failed_count: failed items that it tolerated or that ended it.
    """

    id: int
    step: str
    status: str
    scope: int
    iteration: int
    source: int | None
    variables: int | None
    task_count: int
    failed_count: int
    reason: str
    error: str | None
    on_retry: str
    was_begun: bool
    has_results: bool


@dataclass(frozen=True, slots=True)
class ArrivedBefore:
    """One arrival at a join of the run that is retried; without a generation it was still on its way."""

    step: str
    scope: int
    generation: int | None
    source: str
    is_cascade: bool
    step_run: int | None
    source_run: int | None
    variables: int | None


ACTIVATED = db.select(
    Activated, id="s.id", step="s.step", status="s.status", scope="s.scope", iteration="s.iteration",
    source="s.source_id", variables="s.variables_id", task_count="s.task_count", failed_count="s.failed_count",
    reason="s.reason", error="s.error", on_retry="s.on_retry",
    was_begun="""
        s.started_at IS NOT NULL OR s.task_count > 0 OR NOT EXISTS (
            SELECT 1 FROM django_workflow_arrival a
            WHERE a.run_id = s.run_id AND a.step = s.step AND a.scope = s.scope AND a.step_run_id = s.id)""",
    has_results="""
        s.status <> 'succeeded' AND s.task_count > 1 AND EXISTS (
            SELECT 1 FROM django_workflow_task t
            WHERE t.step_run_id = s.id AND t.index >= 0 AND t.status IN ('succeeded', 'skipped'))""",
)  # fmt: skip
READ_ACTIVATED = f"""
    SELECT {ACTIVATED}
    FROM django_workflow_steprun s WHERE s.run_id = %s ORDER BY s.id
"""
ARRIVED = db.select(
    ArrivedBefore, step="step", scope="scope", generation="generation", source="source", is_cascade="is_cascade",
    step_run="step_run_id", source_run="source_run_id", variables="variables_id",
)  # fmt: skip
READ_ARRIVED = f"""
    SELECT {ARRIVED}
    FROM django_workflow_arrival WHERE run_id = %s ORDER BY id
"""


@dataclass(slots=True)
class Snapshot:
    """How a run stood when it ended.

    kept: activations that are over. followed: those of them whose end is followed anew.
    redone: those that were open, or whose end was the run's.
    waiting: the iterations of those that waited at their join, by id.
    has_begun: it came further than the decision of its start. is_final: what ended it has led on to others.
    """

    kept: list[Activated]
    followed: list[Activated]
    redone: list[Activated]
    arrived: list[ArrivedBefore]
    waiting: dict[int, int]
    has_begun: bool
    is_final: bool

    @property
    def parts(self) -> list[Activated]:
        """Map steps of which only the items without a result are redone."""
        return [item for item in self.redone if item.has_results]

    @property
    def delayed(self) -> list[ArrivedBefore]:
        """Arrivals that were on their way."""
        return [item for item in self.arrived if item.generation is None]

    @property
    def goes_on(self) -> bool:
        """Whether a retry has something to do."""
        return not self.is_final and bool(self.redone or self.followed or self.delayed)


def snapshot_of(run_id: UUID, spec: FlowSpec) -> Snapshot:
    """Return how a settled run stood when it ended."""
    everything = [Activated(*row) for row in db.rows(READ_ACTIVATED, [run_id])]
    activated = [item for item in everything if item.on_retry != LEAVE]
    redone = [item for item in activated if item.on_retry == REDO or (item.status == CANCELLED and item.was_begun)]
    again = {item.id for item in redone}
    kept = [item for item in activated if item.id not in again and item.status in (SUCCEEDED, SKIPPED, FAILED)]
    # a join that was reached by the decision that failed the run still waits for whoever reached it then
    waiting = [item for item in everything if item.on_retry == LEAVE or item.status == CANCELLED]
    return Snapshot(
        kept=kept,
        followed=[item for item in kept if item.on_retry == FOLLOW],
        redone=redone,
        arrived=[ArrivedBefore(*row) for row in db.rows(READ_ARRIVED, [run_id])],
        waiting={item.id: item.iteration for item in waiting if item.id not in again},
        has_begun={item.step for item in activated}.issuperset(spec.entry),
        is_final=any(item.on_retry == FINAL for item in activated),
    )


@dataclass(slots=True)
class Place:
    """Where an activation of the old run stands in the new one."""

    id: int
    old_id: int
    scope: int = OUTERMOST
    source: int | None = None
    variables: int | None = None
    #: How many of its items are executed again.
    open: int = 0


PLACES = db.Columns("c", id="bigint", old_id="bigint", scope="bigint", source="bigint", variables="bigint", open="int")
INSERT_KEPT = f"""
    INSERT INTO django_workflow_steprun
        (id, run_id, step, status, task_count, failed_count, reason, message, error, started_at, ended_at, iteration,
         scope, source_id, variables_id)
    SELECT c.id, %s::uuid, s.step, s.status, s.task_count, s.failed_count, s.reason, s.message, s.error, s.started_at,
           s.ended_at, s.iteration, c.scope, c.source, c.variables
    FROM {PLACES}
    JOIN django_workflow_steprun s ON s.id = c.old_id
"""
WAITING_JOINS = db.Columns("c", id="bigint", step="text", iteration="int", scope="bigint")
INSERT_WAITING = f"""
    INSERT INTO django_workflow_steprun (id, run_id, step, status, iteration, scope)
    SELECT c.id, %s::uuid, c.step, 'waiting', c.iteration, c.scope
    FROM {WAITING_JOINS}
"""
INSERT_PARTS = f"""
    INSERT INTO django_workflow_steprun
        (id, run_id, step, status, open_tasks, task_count, started_at, iteration, scope, source_id, variables_id)
    SELECT c.id, %s::uuid, s.step, 'running', c.open, s.task_count, statement_timestamp(), s.iteration, c.scope,
           c.source, c.variables
    FROM {PLACES}
    JOIN django_workflow_steprun s ON s.id = c.old_id
"""
COPIED = db.Columns("c", id="bigint", old_id="bigint")
# the stamps stay: what is published from now on is above them
COPY_VARIABLES = f"""
    INSERT INTO django_workflow_variables (id, run_id, values, stamps)
    SELECT c.id, %s::uuid, v.values, v.stamps
    FROM {COPIED} JOIN django_workflow_variables v ON v.id = c.old_id
"""
ARRIVALS = db.Columns(
    "n", step="text", source="text", is_cascade="bool", scope="bigint", generation="int", step_run="bigint",
    source_run="bigint", variables="bigint",
)  # fmt: skip
# what was on its way arrives now
INSERT_ARRIVED = f"""
    INSERT INTO django_workflow_arrival
        (run_id, step, source, is_cascade, scope, generation, step_run_id, source_run_id, variables_id, due_at)
    SELECT %s::uuid, n.step, n.source, n.is_cascade, n.scope, n.generation, n.step_run, n.source_run, n.variables,
           CASE WHEN n.generation IS NULL THEN clock_timestamp() END
    FROM {ARRIVALS}
"""


class Copy:
    """A run's rows under new ids."""

    def __init__(self, run_id: UUID, snapshot: Snapshot, final: int | None) -> None:
        self.run_id = run_id
        self.snapshot = snapshot
        everybody = [*snapshot.kept, *snapshot.redone]
        ids = {item.id: item for item in everybody}
        # a join that waited when the run ended waits again, for whoever has reached it has done so
        self.waits = {item.step_run: item for item in snapshot.arrived if item.step_run in snapshot.waiting}
        old = [*ids, *self.waits]
        self.new = dict(zip(old, db.draw_ids("django_workflow_steprun", len(old)), strict=True))
        known = {final, *(item.variables for item in everybody), *(item.variables for item in snapshot.arrived)}
        kept = sorted(key for key in known if key is not None)
        self.variables = dict(zip(kept, db.draw_ids("django_workflow_variables", len(kept)), strict=True))

    def write(self) -> None:
        """Write what is over, who waits, and who has arrived."""
        variables = COPIED.lists(id=list(self.variables.values()), old_id=list(self.variables))
        write(COPY_VARIABLES, self.run_id, variables)
        write(INSERT_KEPT, self.run_id, PLACES.of([self.place(item) for item in self.snapshot.kept]))
        waiting = [
            WAITING_JOINS.row(
                id=self.new[old], step=item.step, iteration=self.snapshot.waiting[old], scope=self.scope(item.scope)
            )
            for old, item in self.waits.items()
        ]
        write(INSERT_WAITING, self.run_id, WAITING_JOINS.params(waiting))
        write(INSERT_ARRIVED, self.run_id, ARRIVALS.params([self.arrival(item) for item in self.snapshot.arrived]))

    def place(self, item: Activated) -> Place:
        """Return where an activation stands in the new run."""
        source, variables = self.new.get(item.source or 0), self.variables.get(item.variables or 0)
        return Place(self.new[item.id], item.id, self.scope(item.scope), source, variables)

    def arrival(self, item: ArrivedBefore) -> tuple[Any, ...]:
        """Return the columns of an arrival."""
        return ARRIVALS.row(
            step=item.step, source=item.source, is_cascade=item.is_cascade, scope=self.scope(item.scope),
            generation=item.generation, step_run=self.new.get(item.step_run or 0),
            source_run=self.new.get(item.source_run or 0), variables=self.variables.get(item.variables or 0),
        )  # fmt: skip

    def scope(self, old: int) -> int:
        """Return a scope's new id; the outermost has none."""
        return self.new.get(old, 0)

    def ends(self, spec: FlowSpec) -> list[StepEnd]:
        """Return the ends that are followed anew."""
        ends = []
        for item in self.snapshot.followed:
            error = payload.loads(item.error)
            step, skip = spec.steps[item.step], (item.status, item.reason)
            is_cascade = cascades(step, *skip, has_error=error is not None, task_count=item.task_count)
            ends.append(
                StepEnd(
                    item.step, item.status, is_cascade, error, self.new[item.id], self.scope(item.scope),
                    item.iteration, self.variables.get(item.variables or 0),
                )
            )  # fmt: skip
        return ends

    def failures(self) -> list[tuple[int, int]]:
        """Return the new and the old ids of kept activations with failed tasks."""
        kept = self.snapshot.kept
        return [(self.new[item.id], item.id) for item in kept if item.failed_count or item.status == FAILED]

    def again(self) -> list[Again]:
        """Return what is begun anew as a whole."""
        return [
            Again(item.step, self.new[item.id], self.scope(item.scope), item.iteration,
                  self.new.get(item.source or 0), self.variables.get(item.variables or 0))
            for item in self.snapshot.redone
            if not item.has_results
        ]  # fmt: skip


def whole_and_parts(spec: FlowSpec, snapshot: Snapshot) -> tuple[list[str], list[str]]:
    """Return, for whoever wants to see it before, the steps that are kept as they are, and maps redone in part."""
    redone = {item.step for item in snapshot.redone}
    kept = {item.step for item in snapshot.kept}
    parts = [item.step for item in snapshot.parts if spec.steps[item.step].kind == MAP]
    return [name for name in spec.steps if name in kept - redone], parts


def write(statement: str, run_id: UUID, columns: Sequence[list[Any]]) -> None:
    """Make a write that takes a run and the columns of a set, unless that is empty."""
    if columns and columns[0]:
        db.add(statement, [run_id, *columns])
