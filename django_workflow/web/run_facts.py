"""What the run page knows about a run: read with a fixed number of statements, whatever the run's size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.spec import MAP, FlowSpec
from django_workflow.models import Run
from django_workflow.statuses import (
    CANCELLED,
    FAILED,
    HELD,
    PAUSED,
    QUEUED,
    RUN_TERMINAL,
    RUNNING,
    STEP_TERMINAL,
    SUCCEEDED,
    SUSPENDED,
    TIMED_OUT,
)

#: What the page calls a step that the run has not reached: it has no row.
NOT_REACHED: Final = "not_reached"
#: Tasks of steps without items that are read for the timeline.
MOST_TASKS: Final = 500
#: Of each task, the last so many attempts.
MOST_ATTEMPTS: Final = 20


@dataclass(slots=True)
class StepFacts:
    """A step's latest activation, with its running tasks counted by where they stand.

    passes: how often the step was activated. delayed: queued tasks whose time has not come; due_at: the first one's.
    parallel, paused: held tasks, by reason.
    """

    step: str
    is_map: bool = False
    id: int | None = None
    iteration: int = 1
    passes: int = 0
    status: str = NOT_REACHED
    task_count: int = 0
    open_tasks: int = 0
    failed_count: int = 0
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    error: dict[str, Any] | None = None
    queued: int = 0
    delayed: int = 0
    due_at: datetime | None = None
    parallel: int = 0
    paused: int = 0
    running: int = 0
    suspended: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether it has ended."""
        return self.status in STEP_TERMINAL

    @property
    def shown(self) -> str:
        """The status to show: of a running step, where its tasks stand."""
        if self.status != RUNNING or self.running:
            return self.status
        if self.suspended:
            return SUSPENDED
        if self.queued:
            return QUEUED
        return HELD if self.paused or self.parallel else self.status

    @property
    def done(self) -> int:
        """How many of its tasks are over."""
        return self.task_count - self.open_tasks

    def duration(self, now: datetime) -> timedelta | None:
        """Return how long it took, or has taken so far."""
        return None if self.started_at is None else (self.ended_at or now) - self.started_at


@dataclass(slots=True)
class Try:
    """One attempt, as far as bars and lists show it."""

    number: int
    outcome: str
    begun_at: datetime | None
    ended_at: datetime | None
    error_class: str = ""


@dataclass(slots=True)
class TaskFacts:
    """A task, its attempts that did not succeed, and the worker that has it."""

    id: int
    step_run_id: int
    index: int
    status: str
    hold_reason: str
    origin: str
    queue: str
    attempt: int
    failure_count: int
    progress: float | None
    created_at: datetime
    due_at: datetime | None
    begun_at: datetime | None
    ended_at: datetime | None
    message_id: int | None
    item: str | None
    worker: str | None
    heartbeat_age: float | None
    tries: list[Try] = field(default_factory=list)
    step: str = ""

    @property
    def all_tries(self) -> list[Try]:
        """Every attempt that is known, the present or succeeded one included."""
        is_told = any(item.number == self.attempt for item in self.tries)
        if self.begun_at is None or is_told or self.status in (QUEUED, HELD):
            return self.tries
        return [*self.tries, Try(self.attempt, self.status, self.begun_at, self.ended_at)]


@dataclass(slots=True)
class Pause:
    """Who holds something, since when and why."""

    since: datetime | None
    by: str = ""
    reason: str = ""


@dataclass(slots=True)
class Around:
    """What is around a run: its retries, queues and workers, and earlier runs of its flow.

    stop: who paused or cancelled it, and why.
    retry_of: the status of the run that this one retries; None where there is none, or it is deleted.
    medians: seconds that a step took in earlier succeeded runs. served: queues that a live worker serves.
    """

    now: datetime
    retries: list[tuple[UUID, str]]
    retry_of: str | None
    paused_queues: dict[str, Pause]
    served: set[str]
    stop: Pause | None
    medians: dict[str, float]


@dataclass
class Facts:
    """All of it."""

    run: Run
    spec: FlowSpec
    steps: dict[str, StepFacts]
    around: Around
    tasks: list[TaskFacts] = field(default_factory=list)
    items: list[TaskFacts] = field(default_factory=list)

    @cached_property
    def is_settled(self) -> bool:
        """Whether the run has ended."""
        return self.run.status in RUN_TERMINAL

    @property
    def now(self) -> datetime:
        """The database's time at which all this was read."""
        return self.around.now

    @cached_property
    def task_of(self) -> dict[str, TaskFacts]:
        """The task of each step that is no map; what an operator gave counts only where there is no other."""
        found: dict[str, TaskFacts] = {}
        for task in sorted(self.tasks, key=lambda task: -task.index):
            found.setdefault(task.step, task)
        return found

    @cached_property
    def totals(self) -> tuple[int, int, int]:
        """Tasks there are so far, how many are over, and how many failed; a step not reached counts one."""
        total = settled = failed = 0
        for step in self.steps.values():
            if step.status == NOT_REACHED:
                total += not self.is_settled
                continue
            size = max(1, step.task_count)
            total += size
            settled += size if step.is_settled else step.done
            failed += step.failed_count
        return total, settled, failed

    def queue_of(self, step: str) -> str:
        """Return the name of the queue that a step uses."""
        return self.spec.steps[step].queue or conf.DEFAULT_QUEUE

    def is_carried(self, step: StepFacts) -> bool:
        """Say whether a step was done in the run that this one retries."""
        return step.ended_at is not None and step.ended_at < self.run.created_at

    def is_taken(self, source: str, to: str, outcomes: Sequence[str]) -> bool:
        """Say whether a transition fired: its source ended as it asks, and the target was reached."""
        return self.steps[source].status in outcomes and self.steps[to].status != NOT_REACHED


READ_STEPS = """
    SELECT s.step, s.id, s.iteration, s.passes, s.status, s.task_count, s.open_tasks, s.failed_count, s.created_at,
           s.started_at, s.ended_at, s.reason, s.error, t.queued, t.delayed, t.due_at, t.parallel, t.paused, t.running,
           t.suspended
    FROM (
        SELECT DISTINCT ON (step) *, count(*) OVER (PARTITION BY step) AS passes
        FROM django_workflow_steprun WHERE run_id = %s::uuid ORDER BY step, iteration DESC
    ) s
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE status = 'queued') AS queued,
               count(*) FILTER (WHERE status = 'queued' AND due_at > clock_timestamp()) AS delayed,
               min(due_at) FILTER (WHERE status = 'queued' AND due_at > clock_timestamp()) AS due_at,
               count(*) FILTER (WHERE status = 'held' AND hold_reason = 'parallel') AS parallel,
               count(*) FILTER (WHERE status = 'held' AND hold_reason = 'paused') AS paused,
               count(*) FILTER (WHERE status = 'running') AS running,
               count(*) FILTER (WHERE status = 'suspended') AS suspended
        FROM django_workflow_task WHERE step_run_id = s.id AND s.status = 'running'
    ) t
    ORDER BY s.id
"""


def read_steps(run_id: UUID, spec: FlowSpec) -> dict[str, StepFacts]:
    """Read where each step stands; the steps in the order of the flow."""
    found = {}
    for row in db.rows(READ_STEPS, [run_id]):
        name, step_run_id, *rest = row
        rest[10] = payload.loads(rest[10])
        if name in spec.steps:
            found[name] = StepFacts(name, spec.steps[name].kind == MAP, step_run_id, *rest)
    return {name: found.get(name) or StepFacts(name, step.kind == MAP) for name, step in spec.steps.items()}


# of steps without items all, of the chosen map a page: what needs a look first
READ_TASKS = """
    WITH wanted AS (
        SELECT t.id, 0 AS place FROM django_workflow_task t WHERE t.step_run_id = ANY(%s::bigint[])
        UNION ALL (
            SELECT t.id, row_number() OVER (
                ORDER BY array_position(ARRAY['failed', 'running', 'suspended', 'queued', 'held'], t.status::text),
                         t.index
            ) AS place
            FROM django_workflow_task t
            WHERE t.step_run_id = %s::bigint AND (%s::text = '' OR t.status = %s::text)
            ORDER BY place LIMIT %s::int OFFSET %s::int
        )
    )
    SELECT wanted.place > 0, t.id, t.step_run_id, t.index, t.status, t.hold_reason, t.origin, t.queue, t.attempt,
           t.failure_count, t.progress, t.created_at, t.due_at, t.begun_at, t.ended_at, t.message_id,
           CASE WHEN %s::bool AND wanted.place > 0 THEN left(t.item::text, 200) END, w.hostname || ':' || w.pid,
           extract(epoch FROM clock_timestamp() - w.heartbeat_at)::float8,
           (SELECT jsonb_agg(jsonb_build_array(a.number, a.outcome, extract(epoch FROM a.begun_at),
                                               extract(epoch FROM a.ended_at), a.error_class) ORDER BY a.id)
            FROM (SELECT * FROM django_workflow_attempt WHERE task_id = t.id ORDER BY id DESC LIMIT %s::int) a)
    FROM wanted JOIN django_workflow_task t ON t.id = wanted.id
    LEFT JOIN django_workflow_worker w ON w.id = t.worker_id
    ORDER BY wanted.place, t.id
"""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Which items of a map are asked for.

    step_run_id: the map's; None for none. status: only these; "" for all.
    """

    step_run_id: int | None = None
    status: str = ""
    limit: int = 50
    offset: int = 0


def read_tasks(facts: Facts, page: ItemPage, *, has_payload: bool) -> None:
    """Read the tasks of steps without items, and a page of the items of one map, into `facts`."""
    names = {step.id: step.step for step in facts.steps.values() if step.id is not None}
    singles = [key for key, name in names.items() if not facts.steps[name].is_map][:MOST_TASKS]
    params = [
        singles, page.step_run_id, page.status, page.status, page.limit + 1, page.offset, has_payload, MOST_ATTEMPTS
    ]  # fmt: skip
    for is_item, *row, tries in db.rows(READ_TASKS, params):
        task = TaskFacts(*row)
        task.tries = [_try(*values) for values in payload.loads(tries) or ()]
        task.step = names.get(task.step_run_id, "")
        (facts.items if is_item else facts.tasks).append(task)


def _try(number: int, outcome: str, begun: float | None, ended: float | None, error_class: str) -> Try:
    return Try(number, outcome, moment(begun), moment(ended), error_class)


def moment(seconds: float | None) -> datetime | None:
    """Return a time given in seconds since the epoch."""
    return None if seconds is None else datetime.fromtimestamp(float(seconds), UTC)


# earlier runs: at most 50 that succeeded among the last 200, found by the index on (flow, id)
READ_AROUND = """
    SELECT clock_timestamp(),
        (SELECT jsonb_agg(jsonb_build_array(n.id, n.status) ORDER BY n.id)
         FROM django_workflow_run n WHERE n.retry_of_id = %s::uuid),
        (SELECT p.status FROM django_workflow_run p WHERE p.id = %s::uuid),
        (SELECT jsonb_agg(jsonb_build_array(q.name, extract(epoch FROM q.paused_at), q.paused_by, q.pause_reason))
         FROM django_workflow_queue q WHERE q.paused_at IS NOT NULL AND q.name = ANY(%s::text[])),
        (SELECT jsonb_agg(DISTINCT name)
         FROM django_workflow_worker w CROSS JOIN LATERAL jsonb_array_elements_text(w.queues) AS name
         WHERE w.stopped_at IS NULL AND w.heartbeat_at > clock_timestamp() - make_interval(secs => w.lease_seconds)),
        (SELECT jsonb_build_array(extract(epoch FROM e.created_at), e.data->>'by', e.data->>'reason')
         FROM django_workflow_event e WHERE %s::text <> '' AND e.run_id = %s::uuid AND e.type = %s::text
         ORDER BY e.number DESC LIMIT 1),
        (SELECT jsonb_object_agg(m.step, m.seconds) FROM (
            SELECT s.step, percentile_cont(0.5) WITHIN GROUP (
                       ORDER BY extract(epoch FROM s.ended_at - s.started_at)::float8) AS seconds
            FROM (SELECT id FROM (SELECT id, status FROM django_workflow_run
                                  WHERE flow_id = %s::bigint AND id < %s::uuid ORDER BY id DESC LIMIT 200) recent
                  WHERE status = 'succeeded' ORDER BY id DESC LIMIT 50) r
            JOIN django_workflow_steprun s ON s.run_id = r.id
            WHERE s.status = 'succeeded' AND s.started_at IS NOT NULL
            GROUP BY s.step) m)
"""


#: Statuses to which somebody, or a limit, has brought a run: the event tells who and why.
STOPPED: Final = frozenset({PAUSED, CANCELLED, TIMED_OUT})


def read_around(run: Run, spec: FlowSpec) -> Around:
    """Read what is around a run."""
    queues = sorted({step.queue or conf.DEFAULT_QUEUE for step in spec.steps.values()})
    stop = f"run.{run.status}" if run.status in STOPPED else ""
    params = [run.pk, run.retry_of_id, queues, stop, run.pk, stop, run.flow_id, run.pk]
    now, retries, old_status, paused, served, stop, medians = db.rows(READ_AROUND, params)[0]
    return Around(
        now=now,
        retries=[(UUID(key), status) for key, status in payload.loads(retries) or ()],
        retry_of=old_status,
        paused_queues={name: _pause(*who) for name, *who in payload.loads(paused) or ()},
        served=set(payload.loads(served) or ()),
        stop=_pause(*payload.loads(stop)) if stop else None,
        medians=payload.loads(medians) or {},
    )


def _pause(since: float | None, by: str | None, reason: str | None) -> Pause:
    return Pause(moment(since), by or "", reason or "")


def count_by_status(step: StepFacts) -> Mapping[str, int]:
    """Return how many tasks of a step are in each status, as far as its counters tell."""
    counts = {
        FAILED: step.failed_count,
        RUNNING: step.running,
        SUSPENDED: step.suspended,
        QUEUED: step.queued,
        HELD: step.paused + step.parallel,
    }
    over = step.done - step.failed_count
    if not step.is_settled or step.status == SUCCEEDED:
        counts[SUCCEEDED] = over
    return {status: count for status, count in counts.items() if count}
