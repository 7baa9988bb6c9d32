"""Writing decisions: step runs, arrivals, tasks and their messages, runs, events; each with one statement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.reporting.report import Telling
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.routing.facts import (
    OUTERMOST,
    Activation,
    Again,
    Decision,
    NewArrival,
    RunState,
    StepEnd,
    Unfired,
)
from django_workflow.engine.routing.facts import Variables as VariablesRow
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun, facts_of
from django_workflow.engine.stored.state import StoredState
from django_workflow.engine.tasks.admission import admission
from django_workflow.engine.tasks.handoff import Taker
from django_workflow.engine.writing import runs, tasks
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.notifications import notifications
from django_workflow.statuses import FAILED, RUNNING, SUCCEEDED, WAITING


@dataclass
class Advance:
    """The writes of several decisions, collected and then made set by set.

    taker: the worker that claims new tasks at once, as far as it has free slots.
    queued: what can be claimed after the commit.
    cancelled: ids of runs whose running handlers must be told to stop.
    telling: what is told of it after the commit.
    """

    events: EventLog = field(default_factory=EventLog)
    telling: Telling = field(default_factory=Telling)
    taker: Taker | None = None
    queued: tasks.Queued = field(default_factory=tasks.Queued)
    cancelled: set[UUID] = field(default_factory=set)
    _variables: list[tuple[Any, ...]] = field(default_factory=list)
    _new_steps: list[tuple[Any, ...]] = field(default_factory=list)
    _woken_steps: list[tuple[Any, ...]] = field(default_factory=list)
    _arrivals: list[tuple[Any, ...]] = field(default_factory=list)
    _tasks: list[tasks.NewTask] = field(default_factory=list)
    _runs: list[tuple[Any, ...]] = field(default_factory=list)
    _on_retry: list[tuple[Any, ...]] = field(default_factory=list)
    _ended: list[runs.RunEnd] = field(default_factory=list)

    def decide(
        self,
        run: LockedRun,
        *,
        spec: FlowSpec | None = None,
        state: RunState | None = None,
        input: Any = None,
        also_open: int = 0,
        ends: Sequence[StepEnd] = (),
        arrivals: Sequence[NewArrival] = (),
        again: Sequence[Again] = (),
        is_start: bool = False,
    ) -> Decision:
        """Decide what follows from what happened in a locked run, and collect it.

        spec, state: where the caller has them, or others than the stored ones. input: as `facts_of` takes it.
        also_open: how many of the steps that end are not counted as open, for they waited.
        ends, arrivals, again, is_start: what happened.
        """
        spec = spec or versions.spec_of(run.version_id)
        facts = facts_of(run, spec, state or StoredState(run.id, spec), input)
        facts.open_steps += also_open
        decision = decide(spec, facts, ends, arrivals=arrivals, again=again, is_start=is_start)
        self.add(run, spec, decision)
        return decision

    def add(self, run: LockedRun, spec: FlowSpec, decision: Decision) -> None:
        """Collect what `decision` asks for; `run` says what its row says now."""
        for row in decision.variables:
            self._add_variables(run, row)
        for waiting in decision.waiting:
            step, place = spec.steps[waiting.step], waiting.scope
            joined = Activation(step, WAITING, id=waiting.id, scope=place, iteration=waiting.iteration)
            self._add_step_run(run, joined)
        for activation in decision.activations:
            self._activate(run, spec, activation)
        for arrival in decision.arrivals:
            self._arrivals.append(_arrival(run, arrival))
        self._on_retry += [ON_RETRY.row(id=key, on_retry=what) for key, what in decision.on_retry.items()]
        for leftover in decision.leftovers:
            self.events.step(run.id, "step.left_over", leftover.step, _leftover(spec, leftover))
        why = decision.error if decision.status == FAILED else decision.failing
        if why is not None and run.failing is None:
            self.telling.fails(run.id, spec.slug, FAILED, why)
        if decision.status is not None:
            self._end_run(run, decision)
        elif _changes(run, decision):
            self._runs.append(runs.row_of(run, decision))

    def write(self) -> None:
        """Make all collected writes; the caller holds the locks of all runs."""
        for sql, columns, rows in (
            (INSERT_VARIABLES, VARIABLES, self._variables),
            (INSERT_STEP_RUNS, NEW_STEP_RUNS, self._new_steps),
            (WAKE_WAITING_STEP_RUNS, WOKEN_STEP_RUNS, self._woken_steps),
            (INSERT_ARRIVALS, ARRIVALS, self._arrivals),
        ):
            if rows:
                db.add(sql, columns.params(rows))
        tasks.insert(self._tasks, self.queued, taker=self.taker)
        runs.update(self._runs)
        self.cancelled |= runs.after_end(self._ended, self.events, self.telling)
        self.events.write()
        if self._on_retry:
            # these rows are among those that this has just added
            db.then(TELL_RETRIES, ON_RETRY.params(self._on_retry))
        self.telling.after_commit()

    def finish(self, run_ids: Iterable[UUID]) -> None:
        """Make all collected writes, and after the commit notify workers, and those who watch these runs."""
        self.write()
        db.notify_after_commit(notifications(queues=self.queued.queues, runs=run_ids, cancelled=self.cancelled))

    def _add_variables(self, run: LockedRun, row: VariablesRow) -> None:
        limit = conf.MAX_OUTPUT_BYTES
        values = payload.dumps(dict(row.values), what="The variables", limit=limit)
        stamps = json.dumps(dict(row.stamps))
        self._variables.append(VARIABLES.row(id=row.id, run_id=run.id, values=values, stamps=stamps))

    def _activate(self, run: LockedRun, spec: FlowSpec, activation: Activation) -> None:
        step = activation.step
        self._add_step_run(run, activation)
        if activation.status != RUNNING:
            data = activation.error or ({"reason": activation.reason} if activation.reason else None)
            kind = "completed" if activation.status == "succeeded" else activation.status
            self.events.step(run.id, f"step.{kind}", step.name, data)
            return
        self.events.step(run.id, "step.started", step.name, _pass(activation))
        queue_name = step.queue or conf.DEFAULT_QUEUE
        taker, take = self.taker, None
        if taker is not None and activation.delay <= 0 and run.may_take(queue_name):
            take = partial(taker.wants, spec, step, queue_name)
        ids = db.draw_ids(tasks.TASK_TABLE, activation.task_count)
        for index, task_id in enumerate(ids):
            item = None
            if activation.items is not None:
                item = payload.dumps(activation.items[index], what=f"Item {index} of step {step.name!r}")
            status, reason = admission(run.status, index=index, max_parallel=activation.max_parallel, take=take)
            if status == RUNNING and taker is not None:
                taker.take(
                    spec, step, id=task_id, run_id=run.id, step_run_id=activation.id, index=index, item=item,
                    queue=queue_name, iteration=activation.iteration, scope=activation.scope,
                    source_id=activation.source, variables_id=activation.variables,
                )  # fmt: skip
            self._tasks.append(
                tasks.NewTask(
                    task_id, run.id, activation.id, index, queue_name, status, reason, item, activation.delay,
                    run.is_local,
                )
            )  # fmt: skip

    def _add_step_run(self, run: LockedRun, item: Activation) -> None:
        error = json.dumps(item.error) if item.error else None
        if item.is_woken:
            self._woken_steps.append(WOKEN_STEP_RUNS.row(
                id=item.id, status=item.status, tasks=item.task_count, reason=item.reason, error=error,
                source=item.source, variables=item.variables,
            ))  # fmt: skip
        else:
            self._new_steps.append(NEW_STEP_RUNS.row(
                id=item.id, run_id=run.id, step=item.step.name, status=item.status, tasks=item.task_count,
                reason=item.reason, error=error, scope=item.scope, iteration=item.iteration, source=item.source,
                variables=item.variables,
            ))  # fmt: skip

    def _end_run(self, run: LockedRun, decision: Decision) -> None:
        assert decision.status is not None
        if run.status != decision.status:  # else it is inserted as it ended
            self._runs.append(runs.row_of(run, decision))
        leaves_open = bool(decision.open_steps or decision.leftovers or decision.status != SUCCEEDED)
        self._ended.append(runs.RunEnd(run, decision.status, decision.error, leaves_open))


def _changes(run: LockedRun, decision: Decision) -> bool:
    """Say whether a run that goes on has another row than before."""
    before = (run.open_steps, run.task_count, run.variables_id, run.failing)
    return before != (decision.open_steps, decision.task_count, decision.final_variables, decision.failing)


def _pass(activation: Activation) -> dict[str, Any] | None:
    """Return what an event tells of a pass that is not the first one of the run."""
    told: dict[str, Any] = {"iteration": activation.iteration} if activation.iteration > 1 else {}
    if activation.scope != OUTERMOST:
        told["scope"] = activation.scope
    return told or None


def _arrival(run: LockedRun, item: NewArrival) -> tuple[Any, ...]:
    return ARRIVALS.row(
        run_id=run.id, step=item.step, source=item.source, is_cascade=item.is_cascade, scope=item.scope,
        generation=item.generation, step_run=item.step_run, source_run=item.source_run or None,
        variables=item.variables, delay=item.delay if item.generation is None else None,
    )  # fmt: skip


def _leftover(spec: FlowSpec, item: Unfired) -> dict[str, Any]:
    """Return what an event tells of a join that a later generation reached partly."""
    missing = [name for name in spec.predecessors[item.step] if name not in item.sources]
    return {"generation": item.generation, "arrived": list(item.sources), "missing": missing}


VARIABLES = db.Columns("n", id="bigint", run_id="uuid", values="text", stamps="text")
INSERT_VARIABLES = f"""
    INSERT INTO django_workflow_variables (id, run_id, values, stamps)
    SELECT n.id, n.run_id, n.values::jsonb, n.stamps::jsonb
    FROM {VARIABLES}
"""
NEW_STEP_RUNS = db.Columns(
    "n", id="bigint", run_id="uuid", step="text", status="text", tasks="int", reason="text", error="text",
    scope="bigint", iteration="int", source="bigint", variables="bigint",
)  # fmt: skip
# the statement's time, not the clock's: what is written together, as the end of a step and what begins by it, has one
INSERT_STEP_RUNS = f"""
    INSERT INTO django_workflow_steprun
        (id, run_id, step, status, open_tasks, task_count, reason, error, scope, iteration, source_id, variables_id,
         started_at, ended_at)
    SELECT n.id, n.run_id, n.step, n.status,
           CASE WHEN n.status = 'running' THEN n.tasks ELSE 0 END, n.tasks, n.reason, n.error::jsonb,
           n.scope, n.iteration, n.source, n.variables,
           CASE WHEN n.status = 'running' THEN statement_timestamp() END,
           CASE WHEN n.status NOT IN ('waiting', 'running') THEN statement_timestamp() END
    FROM {NEW_STEP_RUNS}
"""
WOKEN_STEP_RUNS = db.Columns(
    "n", id="bigint", status="text", tasks="int", reason="text", error="text", source="bigint", variables="bigint"
)
WAKE_WAITING_STEP_RUNS = f"""
    UPDATE django_workflow_steprun s
    SET status = n.status, open_tasks = CASE WHEN n.status = 'running' THEN n.tasks ELSE 0 END,
        task_count = n.tasks, reason = n.reason, error = n.error::jsonb, source_id = n.source,
        variables_id = n.variables,
        started_at = CASE WHEN n.status = 'running' THEN statement_timestamp() END,
        ended_at = CASE WHEN n.status <> 'running' THEN statement_timestamp() END
    FROM {WOKEN_STEP_RUNS}
    WHERE s.id = n.id AND s.status = 'waiting'
"""
ARRIVALS = db.Columns(
    "n", run_id="uuid", step="text", source="text", is_cascade="bool", scope="bigint", generation="int",
    step_run="bigint", source_run="bigint", variables="bigint", delay="float8",
)  # fmt: skip
# a paused run's clock stands still: a delay that begins meanwhile counts from the pause on
INSERT_ARRIVALS = f"""
    INSERT INTO django_workflow_arrival
        (run_id, step, source, is_cascade, scope, generation, step_run_id, source_run_id, variables_id, due_at)
    SELECT n.run_id, n.step, n.source, n.is_cascade, n.scope, n.generation, n.step_run, n.source_run, n.variables,
           CASE WHEN n.delay IS NOT NULL THEN
               coalesce((SELECT paused_at FROM django_workflow_run WHERE id = n.run_id), clock_timestamp())
               + make_interval(secs => n.delay) END
    FROM {ARRIVALS}
"""


ON_RETRY = db.Columns("n", id="bigint", on_retry="text")
TELL_RETRIES = f"""
    UPDATE django_workflow_steprun s SET on_retry = n.on_retry
    FROM {ON_RETRY} WHERE s.id = n.id
"""
