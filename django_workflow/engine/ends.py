"""The parts of a settle: what each outcome means for its task, attempt and step run, and writing it."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator, surrounded
from django_workflow.definition.registry import registry
from django_workflow.definition.retry import NUMBERS, STRATEGIES, RetryPolicy
from django_workflow.definition.spec import CALLABLE_PREFIX, LONGEST_TIME, MAP, NATIVE, StepSpec
from django_workflow.engine.advance import LockedRun
from django_workflow.engine.claim import ClaimedTask
from django_workflow.engine.outcome import ErrorRecord, Outcome
from django_workflow.engine.records import EventLog
from django_workflow.engine.routing import Error, StepEnd, error_of
from django_workflow.statuses import (
    FAILED,
    HELD,
    LOST,
    PAUSED,
    QUEUED,
    RELEASED,
    RUNNING,
    SKIP_REASONS,
    SKIPPED,
    SUCCEEDED,
    TASK_TERMINAL,
)

HANDLER_FAILED = "handler_failed"
UNLIMITED = 1_000_000
#: How often a task of another language may lose its worker: its documents know no attempts of that kind.
MAX_LOSSES = 3


def policy_of(step: StepSpec) -> RetryPolicy:
    """Return a step's retry policy: the settings', with what the flow and the step declare."""
    default = conf.RETRY.declared() if conf.RETRY is not None else {}
    if step.retry_when is None:
        return RetryPolicy.of(default, step.retry)
    # the worker has judged already whether there is another attempt, and when; what it evaluated for that is text here
    declared = {name: value for name, value in step.retry.items() if name not in NUMBERS}
    return RetryPolicy.of(default, declared, {"max_attempts": UNLIMITED})


@dataclass(slots=True)
class Ending:
    """One outcome and what it makes of its task.

    status: the task's next status; "running" with `keeps_lease` where a lost task goes on here.
    delay: seconds until it may be tried again.
    """

    outcome: Outcome
    run: LockedRun
    status: str
    failure_count: int
    lost_count: int
    delay: float = 0.0
    hold_reason: str = ""
    keeps_lease: bool = False
    message_id: int | None = None

    @classmethod
    def of(cls, outcome: Outcome, run: LockedRun) -> Ending:
        """Judge an outcome: the end of its task, another attempt, or a hold."""
        task = outcome.task
        lost_count = task.lost_count + (outcome.kind == LOST)
        if outcome.kind in (SUCCEEDED, SKIPPED):
            return cls(outcome, run, outcome.kind, task.failure_count, lost_count)
        failures = task.failure_count + (outcome.is_counted and outcome.kind != RELEASED)
        ending = cls(outcome, run, QUEUED, failures, lost_count)
        if outcome.kind == RELEASED:
            ending.delay = outcome.retry_after or 0.0
        elif ending.is_exhausted():
            ending.status = FAILED
            return ending
        elif outcome.was_lost_before:
            ending.keeps_lease = run.status != PAUSED and run.may_take(task.queue)
        else:
            try:
                ending.delay = ending.backoff()
            except BaseException as mistake:
                leave_to_operator(mistake)
                ending.outcome, ending.status = outcome.as_mistake_of_strategy(mistake), FAILED
                return ending
        if run.status == PAUSED:
            ending.status, ending.hold_reason = HELD, PAUSED
        elif ending.keeps_lease:
            ending.status = RUNNING
        return ending

    def is_exhausted(self) -> bool:
        """Say whether no further attempt is allowed."""
        if not self.outcome.is_counted:
            return False
        task = self.outcome.task
        if self.outcome.kind == LOST and task.spec.language != NATIVE:
            return self.lost_count >= MAX_LOSSES
        policy = policy_of(task.step)
        error = self.outcome.error
        wanted = self.outcome.retry_after is not None or error is None or policy.wants(error.classes)
        return not self.outcome.is_retryable or not wanted or self.failure_count >= policy.max_attempts

    def most_attempts(self) -> int | None:
        """Return how many failures the step's policy allows; None where it does not count them."""
        most = policy_of(self.outcome.task.step).max_attempts
        return most if most < UNLIMITED else None

    def backoff(self) -> float:
        """Return the seconds until the next attempt; a handler or strategy that asks for more gets the longest time."""
        return min(self.wanted_backoff(), LONGEST_TIME.total_seconds())

    def wanted_backoff(self) -> float:
        """Return the seconds that the outcome or the step's policy asks for."""
        if self.outcome.retry_after is not None:
            return max(0.0, self.outcome.retry_after)
        policy = policy_of(self.outcome.task.step)
        name = policy.strategy.removeprefix(CALLABLE_PREFIX)
        if name == policy.strategy:
            return policy.delay(self.failure_count)
        if not registry.has_callable(name):
            # a deploy took it away: it decides only how long to wait, which the policy's numbers do as well
            return replace(policy, strategy=STRATEGIES[0]).delay(self.failure_count)
        with surrounded():
            # what a strategy sets in its context (variables, language, time zone) is for nobody else
            return copy_context().run(policy.delay, self.failure_count, registry.callable(name))

    @property
    def keeps_message(self) -> bool:
        """Whether the task's message serves for the next attempt; a longer delay waits in its row."""
        return self.status == QUEUED and self.delay <= conf.LEASE.total_seconds()

    @property
    def error(self) -> Error:
        """The error as a step's or run's record tells it."""
        error = self.outcome.error or ErrorRecord("Unknown", self.outcome.reason)
        return error_of(self.outcome.task.step.name, error.error_class, error.message)


END_IF_LEASED = """
    UPDATE django_workflow_task t
    SET status = e.status, output = e.output::jsonb, failure_count = e.failure_count, lost_count = e.lost_count,
        begun_at = coalesce(clock_timestamp() - make_interval(secs => e.begun_ago), t.begun_at),
        ended_at = clock_timestamp() - make_interval(secs => e.ended_ago)
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::int[], %s::float8[], %s::float8[])
         AS e(id, lease_id, status, output, failure_count, lost_count, begun_ago, ended_ago)
    WHERE t.id = e.id AND t.lease_id = e.lease_id AND t.status = 'running'
    RETURNING t.id, e.lease_id, t.message_id
"""
# a paused run's clock stands still: a delay that begins meanwhile counts from the pause on. The lock comes first so
# that the message is told which the row had: it may be taken from it here, and only the row knows the latest
REQUEUE_IF_LEASED = """
    WITH again AS MATERIALIZED (
        SELECT t.message_id, e.*
        FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::int[], %s::float8[], %s::bool[],
                    %s::bool[])
             AS e(id, lease_id, status, hold_reason, failure_count, lost_count, delay, keeps_message, keeps_lease)
        JOIN django_workflow_task t ON t.id = e.id AND t.lease_id = e.lease_id AND t.status = 'running'
        ORDER BY t.id FOR NO KEY UPDATE OF t
    )
    UPDATE django_workflow_task t
    SET status = e.status, hold_reason = e.hold_reason, failure_count = e.failure_count, lost_count = e.lost_count,
        due_at = CASE WHEN e.delay > 0 THEN
                     CASE WHEN e.status = 'held' THEN (SELECT paused_at FROM django_workflow_run WHERE id = t.run_id)
                          ELSE clock_timestamp() END + make_interval(secs => e.delay) END,
        message_id = CASE WHEN e.keeps_message THEN t.message_id END,
        lease_id = CASE WHEN e.keeps_lease THEN t.lease_id END,
        worker_id = CASE WHEN e.keeps_lease THEN t.worker_id END, begun_at = NULL
    FROM again e WHERE t.id = e.id
    RETURNING t.id, e.lease_id, e.message_id
"""


def first_of_each(endings: Sequence[Ending]) -> tuple[list[Ending], list[Ending]]:
    """Part endings into the first of each attempt and those that came after it, such as a result after a timeout."""
    first: dict[tuple[int, int], Ending] = {}
    after = [item for item in endings if first.setdefault(item.outcome.task.fence, item) is not item]
    return list(first.values()), after


def end_tasks(endings: Sequence[Ending]) -> set[tuple[int, int]]:
    """Write the tasks whose lease still matches; return their fences. The others changed nothing.

    An ending learns its task's message from the row: the keeper may have sent another since the claim.
    """
    now = time.monotonic()
    over: list[tuple[Any, ...]] = []
    again: list[tuple[Any, ...]] = []
    for item in endings:
        outcome = item.outcome
        fence = (outcome.task.id, outcome.task.lease_id, item.status)
        if item.status in TASK_TERMINAL:
            begun_ago = None if outcome.begun_at is None else now - outcome.begun_at
            ended_ago = 0.0 if outcome.ended_at is None else now - outcome.ended_at
            over.append((*fence, outcome.output, item.failure_count, item.lost_count, begun_ago, ended_ago))
        else:
            counts = (item.failure_count, item.lost_count)
            keeps_message = item.keeps_message or item.keeps_lease
            again.append((*fence, item.hold_reason, *counts, item.delay, keeps_message, item.keeps_lease))
    messages: dict[tuple[int, int], int | None] = {}
    for sql, values in ((END_IF_LEASED, over), (REQUEUE_IF_LEASED, again)):
        if values:
            found = db.rows(sql, [list(column) for column in zip(*values, strict=True)])
            messages |= {(task_id, lease_id): message_id for task_id, lease_id, message_id in found}
    for item in endings:
        item.message_id = messages.get(item.outcome.task.fence) or item.outcome.task.message_id
    return set(messages)


# the worker is the claim's: the row has none once its task is put back, and another one after a loss
INSERT_ATTEMPTS = """
    INSERT INTO django_workflow_attempt
        (run_id, task_id, lease_id, number, is_counted, begun_at, ended_at, outcome, error_class, message, traceback,
         fingerprint, worker_id)
    SELECT a.run_id, a.task_id, a.lease_id, a.number, a.is_counted,
           clock_timestamp() - make_interval(secs => a.begun_ago),
           clock_timestamp() - make_interval(secs => a.ended_ago),
           a.outcome, a.error_class, a.message, a.traceback, a.fingerprint, a.worker_id
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::int[], %s::bool[], %s::float8[], %s::float8[], %s::text[],
                %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
         AS a(run_id, task_id, lease_id, number, is_counted, begun_ago, ended_ago, outcome, error_class, message,
              traceback, fingerprint, worker_id)
    WHERE NOT EXISTS (SELECT 1 FROM django_workflow_attempt x WHERE x.task_id = a.task_id AND x.lease_id = a.lease_id)
"""


def record_attempts(endings: Sequence[Ending]) -> None:
    """Insert a row for every attempt that ended otherwise than by success."""
    now = time.monotonic()
    values = []
    for item in endings:
        outcome, task = item.outcome, item.outcome.task
        if outcome.kind in (SUCCEEDED, SKIPPED):
            continue
        error = outcome.error or ErrorRecord("", outcome.reason)
        values.append((
            task.run_id, task.id, task.lost_lease_id if outcome.was_lost_before else task.lease_id, outcome.attempt,
            outcome.is_counted, None if outcome.begun_at is None else now - outcome.begun_at,
            0.0 if outcome.ended_at is None else now - outcome.ended_at, outcome.kind,
            error.error_class[:200], error.message, error.traceback, error.fingerprint if outcome.error else "",
            task.lost_worker_id if outcome.was_lost_before else task.worker_id,
        ))  # fmt: skip
    if values:
        db.execute(INSERT_ATTEMPTS, [list(column) for column in zip(*values, strict=True)])


# the same outcome again is the repetition of a settle whose answer was lost
RECORD_SUPERSEDED = """
    UPDATE django_workflow_attempt a SET superseded_at = clock_timestamp(), late_outcome = l.outcome
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS l(task_id, lease_id, outcome)
    WHERE a.task_id = l.task_id AND a.lease_id = l.lease_id AND a.superseded_at IS NULL
      AND l.outcome NOT IN ('released', a.outcome)
    RETURNING a.id
"""


def record_superseded(late: Sequence[Ending]) -> None:
    """Mark the attempts of late results; where the attempt has no row yet, or was applied, nothing happens."""
    if late:
        tasks = [item.outcome.task for item in late]
        kinds = [item.outcome.kind for item in late]
        # not `execute`: the attempt's own row may be among the writes that are still pending
        db.rows(RECORD_SUPERSEDED, [[task.id for task in tasks], [task.lease_id for task in tasks], kinds])


@dataclass(slots=True)
class StepEnds:
    """What became of the step runs of a pile.

    ended: steps that became terminal, by run. closed: step runs whose other tasks must stop.
    freed: places that became free in step runs with `max_parallel`.
    """

    ended: dict[UUID, list[StepEnd]] = field(default_factory=lambda: defaultdict(list))
    closed: list[int] = field(default_factory=list)
    freed: dict[int, tuple[int, str, bool]] = field(default_factory=dict)


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
        error = n.error::jsonb, ended_at = CASE WHEN n.status <> 'running' THEN statement_timestamp() END
    FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::int[], %s::text[], %s::text[])
         AS n(id, status, open_tasks, failed_count, reason, error)
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
        db.execute(UPDATE_STEP_RUNS, [list(column) for column in zip(*changes, strict=True)])
    return result


def _read_counts(over: dict[int, list[Ending]]) -> dict[int, _Count]:
    """Return the counters of step runs; one with a single task needs no read."""
    counts = {key: _Count(1, 1, 0) for key, items in over.items() if items[0].outcome.task.step.kind != MAP}
    maps = [key for key in over if key not in counts]
    if maps:
        counts |= {row[0]: _Count(*row[1:]) for row in db.rows(READ_STEP_RUNS, [maps])}
    return counts


def _as_said(reason: str) -> str:
    """Return why a handler skips, as it is stored: in quotes where it says a word of the engine's."""
    return f"“{reason}”" if reason in SKIP_REASONS else reason


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
    reason, error = "", None
    if failures and not is_tolerated(step, count):
        error = failures[0].error
        end = _exhausted(task, error)
        end.ends_run = failures[0].outcome.ends_run
        reason = HANDLER_FAILED if end.status == SKIPPED else ""
    elif step.kind != MAP and items[0].status == SKIPPED:
        end, reason = _step_end(task, SKIPPED), _as_said(items[0].outcome.reason)
    elif count.open_tasks == 0:
        end = _step_end(task, SUCCEEDED)
    if end is None:
        if step.max_parallel is not None:
            result.freed[step_run_id] = (len(items), run.status, run.is_local)
        return RUNNING, count.open_tasks, count.failed_count, "", None
    if count.open_tasks:
        result.closed.append(step_run_id)
    result.ended[task.run_id].append(end)
    kind = "completed" if end.status == SUCCEEDED else end.status
    events.step(task.run_id, f"step.{kind}", step.name, error or ({"reason": reason} if reason else None))
    return end.status, 0, count.failed_count, reason, json.dumps(error) if error else None


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


def write_task_events(endings: Sequence[Ending], events: EventLog) -> None:
    """Collect what handlers emitted and, at level "task", what became of each task."""
    for item in endings:
        outcome, task = item.outcome, item.outcome.task
        for kind, data in outcome.events:
            events.custom(task.run_id, kind, task.step.name, task.id, data)
        kind = {SUCCEEDED: "task.completed", SKIPPED: "task.completed", FAILED: "task.failed"}.get(
            item.status, "task.retried"
        )
        if outcome.kind != RELEASED:
            events.task(task.run_id, kind, task.step.name, task.id, {"attempt": outcome.attempt})


def drop_messages(endings: Sequence[Ending]) -> None:
    """Delete the messages of tasks that ended or wait in their rows; hide those that are tried again."""
    gone: dict[str, list[int]] = defaultdict(list)
    hidden: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for item in endings:
        task = item.outcome.task
        if item.message_id is None or item.keeps_lease:
            continue
        if item.keeps_message:
            hidden[task.queue].append((item.message_id, item.delay))
        else:
            gone[task.queue].append(item.message_id)
    for name, ids in gone.items():
        queue.delete(name, ids)
    for name, pairs in hidden.items():
        queue.hide(name, [message for message, _ in pairs], [delay for _, delay in pairs])
