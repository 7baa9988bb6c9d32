"""Writing decisions: step runs, arrivals, tasks and their messages, runs, events; each with one statement."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_workflow import db, payload, queue
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine import close
from django_workflow.engine.claim import Taker
from django_workflow.engine.records import EventLog
from django_workflow.engine.routing import Activation, Decision
from django_workflow.statuses import HELD, PAUSED, QUEUED, RUNNING, WAITING

STEP_RUN_TABLE = "django_workflow_steprun"
TASK_TABLE = "django_workflow_task"
#: Tasks written with one statement.
CHUNK = 5_000


@dataclass(slots=True)
class LockedRun:
    """A run whose lock this transaction holds, with what its row says; `paused_queues` are those of the database."""

    id: UUID
    status: str
    version_id: int
    open_steps: int
    task_count: int
    is_local: bool
    paused_queues: Sequence[str] | None = None

    def may_take(self, queue_name: str) -> bool:
        """Say whether tasks of a queue may be claimed as they are made."""
        return not self.is_local and queue_name not in (self.paused_queues or ())


@dataclass(slots=True)
class NewTask:
    """A task to be written."""

    id: int
    run: LockedRun
    step_run_id: int
    index: int
    queue: str
    status: str
    hold_reason: str
    item: str | None


@dataclass
class Advance:
    """The writes of several decisions, collected and then made set by set.

    taker: the worker that claims new tasks at once, as far as it has free slots.
    queues: names of the queues that received messages, for the notification after the commit.
    cancelled: ids of runs whose running handlers must be told to stop.
    """

    events: EventLog = field(default_factory=EventLog)
    taker: Taker | None = None
    queues: set[str] = field(default_factory=set)
    cancelled: set[UUID] = field(default_factory=set)
    _new_steps: list[tuple[Any, ...]] = field(default_factory=list)
    _woken_steps: list[tuple[Any, ...]] = field(default_factory=list)
    _arrivals: list[tuple[Any, ...]] = field(default_factory=list)
    _tasks: list[NewTask] = field(default_factory=list)
    _runs: list[tuple[Any, ...]] = field(default_factory=list)
    _ended: dict[UUID, str] = field(default_factory=dict)

    def add(self, run: LockedRun, spec: FlowSpec, decision: Decision) -> None:
        """Collect what `decision` asks for; `run` says what its row says now."""
        for arrival in decision.arrivals:
            self._arrivals.append((run.id, arrival.step, arrival.source, arrival.is_cascade))
        for step in decision.waiting:
            self._add_step_run(run, step, WAITING)
        for activation in decision.activations:
            self._activate(run, spec, activation)
        changed = (decision.open_steps, decision.task_count) != (run.open_steps, run.task_count)
        if decision.status is not None:
            self._end_run(run, decision)
        elif changed:
            self._runs.append((run.id, run.status, decision.open_steps, decision.task_count, None))

    def write(self) -> None:
        """Make all collected writes; the caller holds the locks of all runs."""
        _insert_step_runs(self._new_steps)
        _wake_step_runs(self._woken_steps)
        _insert_arrivals(self._arrivals)
        self._send_and_insert_tasks()
        _update_runs(self._runs)
        if self._ended:
            self.cancelled |= close.close_runs(self._ended)
        self.events.write()

    def _activate(self, run: LockedRun, spec: FlowSpec, activation: Activation) -> None:
        step = activation.step
        if activation.status != RUNNING:
            self._add_step_run(run, step.name, activation.status, activation)
            data = activation.error or ({"reason": activation.reason} if activation.reason else None)
            kind = "completed" if activation.status == "succeeded" else activation.status
            self.events.step(run.id, f"step.{kind}", step.name, data)
            return
        step_run_id = self._add_step_run(run, step.name, RUNNING, activation)
        self.events.step(run.id, "step.started", step.name)
        limit = step.max_parallel if step.max_parallel is not None else activation.task_count
        queue_name = step.queue or conf.DEFAULT_QUEUE
        ids = db.draw_ids(TASK_TABLE, activation.task_count)
        for index, task_id in enumerate(ids):
            item = None
            if activation.items is not None:
                item = payload.dumps(activation.items[index], what=f"Item {index} of step {step.name!r}")
            status, reason = (QUEUED, "") if index < limit else (HELD, "parallel")
            if status == QUEUED and run.status == PAUSED:
                status, reason = HELD, PAUSED
            elif (
                status == QUEUED
                and self.taker
                and run.may_take(queue_name)
                and self.taker.wants(spec, step, queue_name)
            ):
                status = RUNNING
                self.taker.take(
                    spec, step, id=task_id, run_id=run.id, step_run_id=step_run_id, index=index, item=item,
                    queue=queue_name,
                )  # fmt: skip
            self._tasks.append(NewTask(task_id, run, step_run_id, index, queue_name, status, reason, item))

    def _add_step_run(self, run: LockedRun, step: str, status: str, activation: Activation | None = None) -> int:
        tasks, reason, error, waiting_id = 0, "", None, None
        if activation is not None:
            tasks, reason, waiting_id = activation.task_count, activation.reason, activation.waiting_id
            error = json.dumps(activation.error) if activation.error else None
        if waiting_id is not None:
            self._woken_steps.append((waiting_id, status, tasks, reason, error))
            return waiting_id
        step_run_id = db.draw_ids(STEP_RUN_TABLE, 1)[0]
        self._new_steps.append((step_run_id, run.id, step, status, tasks, reason, error))
        return step_run_id

    def _end_run(self, run: LockedRun, decision: Decision) -> None:
        assert decision.status is not None
        error = json.dumps(decision.error) if decision.error else None
        if run.status != decision.status:
            self._runs.append((run.id, decision.status, 0, decision.task_count, error))
        if decision.open_steps or decision.status != "succeeded":
            self._ended[run.id] = decision.status
        kind = "completed" if decision.status == "succeeded" else decision.status
        self.events.run(run.id, f"run.{kind}", decision.error)

    def _send_and_insert_tasks(self) -> None:
        silent: list[NewTask] = []
        queued: dict[str, list[NewTask]] = defaultdict(list)
        taken: dict[str, list[NewTask]] = defaultdict(list)
        for task in self._tasks:
            if task.status == RUNNING:
                taken[task.queue].append(task)
            elif task.status == QUEUED and not task.run.is_local:
                queued[task.queue].append(task)
            else:
                silent.append(task)
        self.queues.update(queued)
        for name, tasks in queued.items():
            for chunk in _chunks(tasks):
                db.execute(*queue.sending(INSERT_SENT_TASKS, _columns(chunk), name, [task.id for task in chunk]))
        for name, tasks in taken.items():
            assert self.taker is not None
            params = [self.taker.lease_id, self.taker.worker_id, *_columns(tasks)]
            ids = [task.id for task in tasks]
            db.execute(*queue.sending(INSERT_TAKEN_TASKS, params, name, ids, self.taker.lease))
        for chunk in _chunks(silent):
            db.execute(INSERT_TASKS, _columns(chunk))


INSERT_STEP_RUNS = """
    INSERT INTO django_workflow_steprun
        (id, run_id, step, status, open_tasks, task_count, reason, error, started_at, ended_at)
    SELECT n.id, n.run_id, n.step, n.status,
           CASE WHEN n.status = 'running' THEN n.tasks ELSE 0 END, n.tasks, n.reason, n.error::jsonb,
           CASE WHEN n.status = 'running' THEN clock_timestamp() END,
           CASE WHEN n.status NOT IN ('waiting', 'running') THEN clock_timestamp() END
    FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::int[], %s::text[], %s::text[])
         AS n(id, run_id, step, status, tasks, reason, error)
"""


def _insert_step_runs(new: Sequence[tuple[Any, ...]]) -> None:
    if new:
        db.execute(INSERT_STEP_RUNS, [list(column) for column in zip(*new, strict=True)])


WAKE_WAITING_STEP_RUNS = """
    UPDATE django_workflow_steprun s
    SET status = n.status, open_tasks = CASE WHEN n.status = 'running' THEN n.tasks ELSE 0 END,
        task_count = n.tasks, reason = n.reason, error = n.error::jsonb,
        started_at = CASE WHEN n.status = 'running' THEN clock_timestamp() END,
        ended_at = CASE WHEN n.status <> 'running' THEN clock_timestamp() END
    FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::text[], %s::text[])
         AS n(id, status, tasks, reason, error)
    WHERE s.id = n.id AND s.status = 'waiting'
"""


def _wake_step_runs(woken: Sequence[tuple[Any, ...]]) -> None:
    if woken:
        db.execute(WAKE_WAITING_STEP_RUNS, [list(column) for column in zip(*woken, strict=True)])


INSERT_ARRIVALS = """
    INSERT INTO django_workflow_arrival (run_id, step, source, is_cascade)
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bool[]) AS n(run_id, step, source, is_cascade)
"""


def _insert_arrivals(arrivals: Sequence[tuple[Any, ...]]) -> None:
    if arrivals:
        db.execute(INSERT_ARRIVALS, [list(column) for column in zip(*arrivals, strict=True)])


INSERT_TASKS = """
    INSERT INTO django_workflow_task (id, run_id, step_run_id, index, status, hold_reason, queue, item)
    SELECT n.id, n.run_id, n.step_run_id, n.index, n.status, n.reason, n.queue, n.item::jsonb
    FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[])
         AS n(id, run_id, step_run_id, index, status, reason, queue, item)
"""
INSERT_SENT_TASKS = """
    INSERT INTO django_workflow_task (id, run_id, step_run_id, index, status, hold_reason, queue, item, message_id)
    SELECT n.id, n.run_id, n.step_run_id, n.index, n.status, n.reason, n.queue, n.item::jsonb, sent.message_id
    FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[])
         AS n(id, run_id, step_run_id, index, status, reason, queue, item)
    JOIN sent ON sent.task_id = n.id
"""
INSERT_TAKEN_TASKS = """
    INSERT INTO django_workflow_task
        (lease_id, worker_id, attempt, begun_at, id, run_id, step_run_id, index, status, hold_reason, queue, item,
         message_id)
    SELECT %s::bigint, %s::bigint, 1, clock_timestamp(), n.id, n.run_id, n.step_run_id, n.index, n.status, n.reason,
           n.queue, n.item::jsonb, sent.message_id
    FROM unnest(%s::bigint[], %s::uuid[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::text[], %s::text[])
         AS n(id, run_id, step_run_id, index, status, reason, queue, item)
    JOIN sent ON sent.task_id = n.id
"""


def _columns(tasks: Sequence[NewTask]) -> list[list[Any]]:
    values = [
        (task.id, task.run.id, task.step_run_id, task.index, task.status, task.hold_reason, task.queue, task.item)
        for task in tasks
    ]
    return [list(column) for column in zip(*values, strict=True)]


UPDATE_RUNS = """
    UPDATE django_workflow_run r
    SET status = n.status, open_steps = n.open_steps, task_count = n.task_count,
        error = coalesce(n.error::jsonb, r.error),
        ended_at = CASE WHEN n.status IN ('succeeded', 'failed', 'cancelled', 'timed_out')
                        THEN clock_timestamp() END
    FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::int[], %s::text[])
         AS n(id, status, open_steps, task_count, error)
    WHERE r.id = n.id
"""


def _update_runs(changed: Sequence[tuple[Any, ...]]) -> None:
    if changed:
        db.execute(UPDATE_RUNS, [list(column) for column in zip(*changed, strict=True)])


def _chunks(items: list[NewTask]) -> Iterator[list[NewTask]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


READ_ARRIVALS = """
    SELECT a.run_id, a.step, a.source, a.is_cascade, s.id
    FROM django_workflow_arrival a
    LEFT JOIN django_workflow_steprun s ON s.run_id = a.run_id AND s.step = a.step AND s.status = 'waiting'
    WHERE a.run_id = ANY(%s::uuid[])
"""


@dataclass(slots=True)
class Joins:
    """What a run's joins have seen: who arrived, and the step runs that wait."""

    arrivals: dict[str, dict[str, bool]] = field(default_factory=lambda: defaultdict(dict))
    waiting: dict[str, int] = field(default_factory=dict)


def read_joins(run_ids: Sequence[UUID]) -> Mapping[UUID, Joins]:
    """Read the arrivals and waiting step runs of runs; under their locks nobody adds to them."""
    table: dict[UUID, Joins] = defaultdict(Joins)
    if run_ids:
        for run_id, step, source, is_cascade, waiting_id in db.rows(READ_ARRIVALS, [list(run_ids)]):
            table[run_id].arrivals[step][source] = is_cascade
            if waiting_id is not None:
                table[run_id].waiting[step] = waiting_id
    return table
