"""What the run page knows about a run: read with a fixed number of statements, whatever the run's size."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django_workflow import db, payload, times
from django_workflow.conf import conf
from django_workflow.definition.names import RETRY
from django_workflow.definition.spec import DEPENDENCY_OUTCOMES, MAP, FlowSpec
from django_workflow.engine.missing import Missing, missing_in
from django_workflow.engine.standing import RUN_BEGUN, STEP_BEGUN, Spans, clock_end, spans_of
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
from django_workflow.web.tallies import COUNTED, NONE, Tally, tallies

#: What the page calls a step that the run has not reached: it has no row.
NOT_REACHED: Final = "not_reached"
#: Tasks of steps without items that are read for the timeline.
MOST_TASKS: Final = 500
#: Of each task, the last so many attempts.
MOST_ATTEMPTS: Final = 20


@dataclass(slots=True)
class StepFacts:
    """One activation of a step: a running one, else one that waits, else the newest that began; and all together.

    Of all activations: tally: where the tasks of the open ones stand. passes: how many; of them open_passes run,
    waiting_passes wait, and begun have started. scopes: in how many. led: to how many another one led.
    sizes, over, failures, succeeded: their tasks, those that are over, that failed, that succeeded or were skipped.
    left_over: joins that the end of the run found waiting. They never began, and count nowhere else.
    begun_at: when a worker began the first task of the one shown; it was reached at started_at.
    outer_id: the last one in the outermost scope, whose output is the step's for the run.
    arrived: who has reached the join that waits longest, in which generation.
    """

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
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""
    error: dict[str, Any] | None = None
    passes: int = 0
    scopes: int = 0
    led: int = 0
    open_passes: int = 0
    waiting_passes: int = 0
    sizes: int = 0
    over: int = 0
    failures: int = 0
    succeeded: int = 0
    began_at: datetime | None = None
    begun: int = 0
    left_over: int = 0
    outer_id: int | None = None
    outer_status: str | None = None
    arrived: list[str] | None = None
    generation: int | None = None
    begun_at: datetime | None = None
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
    def done(self) -> int:
        """How many of its tasks are over."""
        return self.task_count - self.open_tasks

    @property
    def together(self) -> tuple[int, int, int]:
        """Its tasks that are over, all of them, and those that failed: of all passes, as the run's head counts them."""
        if self.passes > 1:
            return self.over, self.sizes, self.failures
        return self.done, self.task_count, self.failed_count


@dataclass(slots=True)
class Try:
    """One attempt, as far as bars and lists show it."""

    number: int
    outcome: str
    begun_at: datetime | None
    ended_at: datetime | None
    error_class: str = ""


def counted_attempts(task: Any) -> int:
    """Return how many attempts of a task count: those that were released, or lost before they began, do not."""
    is_counted = task.begun_at is not None and task.status not in (QUEUED, HELD, FAILED)
    return int(task.failure_count) + is_counted


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
    def attempts(self) -> int:
        """How many attempts count so far."""
        return counted_attempts(self)

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

    spans: how long it waited for its first worker, and ran. stop: who paused or cancelled it, and why.
    retry_of: the status of the run that this one retries; None where there is none, or it is deleted.
    medians: seconds that a step took in earlier succeeded runs. served: queues that a live worker serves.
    """

    now: datetime
    spans: Spans
    retries: list[tuple[UUID, str]]
    retry_of: str | None
    paused_queues: dict[str, Pause]
    served: set[str]
    stop: Pause | None
    medians: dict[str, float]


@dataclass(frozen=True, slots=True)
class WayFacts:
    """A way from a step to a step: how often it was taken; on how many of them somebody still is, and until when."""

    count: int
    delayed: int = 0
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One activation, as far as lists and bars show it."""

    id: int
    step: str
    scope: int
    iteration: int
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    begun_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """What a run did that steps alone do not tell: the ways it took, and the newest begun passes of repeated steps."""

    ways: dict[tuple[str, str], WayFacts] = field(default_factory=dict)
    passes: dict[str, list[Pass]] = field(default_factory=dict)


@dataclass
class Facts:
    """All of it.

    chosen: an activation of the chosen step that is not the one in `steps`.
    missing: code that workers did not have for steps that wait for it, by step.
    """

    run: Run
    spec: FlowSpec
    steps: dict[str, StepFacts]
    around: Around
    course: Course = field(default_factory=Course)
    chosen: StepFacts | None = None
    tasks: list[TaskFacts] = field(default_factory=list)
    items: list[TaskFacts] = field(default_factory=list)
    missing: Mapping[str, Missing] = field(default_factory=dict)

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
        """The task of each step that is no map and is shown; what an operator gave counts only without another."""
        return {
            name: task for name, step in self.steps.items() if (task := self.task_of_pass.get(step.id or 0)) is not None
        }

    @cached_property
    def task_of_pass(self) -> dict[int, TaskFacts]:
        """The same by the activation's id."""
        found: dict[int, TaskFacts] = {}
        for task in sorted(self.tasks, key=lambda task: -task.index):
            found.setdefault(task.step_run_id, task)
        return found

    @cached_property
    def totals(self) -> tuple[int, int, int]:
        """Tasks there are, how many were done, and how many failed.

        A step not reached counts one, but in a run that succeeded without it.
        """
        total = done = failed = 0
        for step in self.steps.values():
            if step.status == NOT_REACHED:
                total += self.run.status != SUCCEEDED
                continue
            total += step.sizes
            done += step.succeeded
            failed += step.failures
        return total, done, failed

    @property
    def clock(self) -> datetime:
        """The time that the run's clock shows: it stands still while the run is paused, and at its end."""
        return clock_end(self.run) or self.now

    @property
    def failing(self) -> dict[str, Any] | None:
        """Why the run will fail as soon as what runs has ended; nothing new starts until then."""
        return self.run.error if self.run.error and not self.is_settled else None

    def queue_of(self, step: str) -> str:
        """Return the name of the queue that a step uses."""
        return self.spec.steps[step].queue or conf.DEFAULT_QUEUE

    def is_carried(self, step: StepFacts) -> bool:
        """Say whether a step was done in the run that this one retries."""
        return step.ended_at is not None and step.ended_at < self.run.created_at

    def taken(self, source: str, to: str) -> int:
        """Return how often a way from a step to a step was taken."""
        way = self.course.ways.get((source, to))
        if way is not None:
            return way.count
        # where every step runs once the ends tell; also of what a retry took over, which arrived nowhere again
        is_certain = self.spec.is_plain and self.steps[source].status in DEPENDENCY_OUTCOMES
        return int(is_certain and self.steps[to].status != NOT_REACHED)


# rows are counted where they are, however many, and never sorted: what comes out is a row for each step. The one to
# show is the greatest by what it does, when it was made, and its id; in each scope the first has iteration 1.
# A join that was cancelled while it waited did nothing: in a long loop there are as many of them as passes.
# OFFSET 0 keeps the order of the joins also where the planner's statistics know of no rows: it would count for each row
READ_STEPS = f"""
    WITH c AS MATERIALIZED (
        SELECT step, count(*) FILTER (WHERE NOT is_left) AS passes,
               count(*) FILTER (WHERE iteration = 1 AND NOT is_left) AS scopes, count(source_id) AS led,
               count(*) FILTER (WHERE status = 'running') AS open_passes,
               count(*) FILTER (WHERE status = 'waiting') AS waiting_passes,
               coalesce(sum(greatest(1, task_count)) FILTER (WHERE NOT is_left), 0) AS sizes,
               coalesce(sum(CASE WHEN status IN ('waiting', 'running') THEN task_count - open_tasks
                                 ELSE greatest(1, task_count) END) FILTER (WHERE NOT is_left), 0) AS over,
               sum(failed_count) AS failures,
               coalesce(sum(CASE WHEN status IN ('succeeded', 'skipped') THEN greatest(1, task_count)
                                 WHEN status = 'running' THEN task_count - open_tasks END - failed_count)
                        FILTER (WHERE NOT is_left), 0) AS succeeded,
               (array_agg(id) FILTER (WHERE status IN ('failed', 'cancelled') AND task_count > 1))[1:1000] AS cut_ids,
               min(started_at) AS began_at, count(started_at) AS begun,
               count(*) FILTER (WHERE is_left) AS left_over,
               max(ARRAY[CASE WHEN status = 'running' THEN 3 WHEN status = 'waiting' THEN 2
                              WHEN is_left THEN 0 ELSE 1 END,
                         date_part('epoch', created_at), id]) AS shown,
               max(ARRAY[iteration, id]) FILTER (WHERE scope = 0) AS outermost,
               (array_agg(id) FILTER (WHERE status = 'running'))[1:1000] AS open_ids,
               min(ARRAY[date_part('epoch', created_at), id]) FILTER (WHERE status = 'waiting') AS longest
        FROM (SELECT *, status = 'cancelled' AND started_at IS NULL AS is_left
              FROM django_workflow_steprun WHERE run_id = %s::uuid) every
        GROUP BY step
    )
    SELECT c.step, s.id, s.scope, s.iteration, s.source_id, s.variables_id, s.status, s.task_count, s.open_tasks,
           s.failed_count, s.created_at, s.started_at, s.ended_at, s.reason, s.error, c.passes, c.scopes, c.led,
           c.open_passes, c.waiting_passes, c.sizes, c.over, c.failures, c.succeeded + d.count,
           c.began_at, c.begun, c.left_over, o.id, o.status, a.sources, a.generation, {STEP_BEGUN.format(step="s.id")},
           t.queued, t.delayed, t.due_at, t.parallel, t.paused, t.running, t.suspended
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


def read_steps(run_id: UUID, spec: FlowSpec) -> dict[str, StepFacts]:
    """Read where each step stands; the steps in the order of the flow."""
    known = tallies.of(run_id)
    began = time.monotonic()
    rows = db.rows(READ_STEPS, [run_id, known is None, run_id])
    if known is None:
        known = {name: Tally(*rest[COUNTS:]) for name, *rest in rows}
        tasks = sum(rest[SIZES] for _, *rest in rows if rest[OPEN_PASSES])
        tallies.keep(run_id, known, tasks, time.monotonic() - began)
    found = {}
    for name, *rest in rows:
        if name in spec.steps:
            step = found[name] = StepFacts(name, spec.steps[name].kind == MAP, *rest[:COUNTS])
            step.error = payload.loads(rest[ERROR])
            step.tally = known.get(name, NONE) if step.open_passes else NONE
    return {name: found.get(name) or StepFacts(name, step.kind == MAP) for name, step in spec.steps.items()}


#: The places of some columns behind a step's name; from the last one on its tally.
ERROR, OPEN_PASSES, SIZES, COUNTS = 13, 17, 19, 31

# an activation tells where it came from; a join only its last arrival, so those are counted themselves
READ_WAYS = """
    SELECT before.step, s.step, count(*), 0, NULL
    FROM django_workflow_steprun s
    CROSS JOIN LATERAL (SELECT step FROM django_workflow_steprun WHERE id = s.source_id OFFSET 0) before
    WHERE s.run_id = %s::uuid AND s.step = ANY(%s::text[])
    GROUP BY before.step, s.step
    UNION ALL
    SELECT source, step, count(generation), count(*) - count(generation), min(due_at) FILTER (WHERE generation IS NULL)
    FROM django_workflow_arrival WHERE run_id = %s::uuid GROUP BY source, step
"""
# the newest ones of one scope are at the end of an index; what was left over, or has not begun, is passed by on the way
READ_PASSES = f"""
    SELECT p.id, p.step, p.scope, p.iteration, p.status, p.created_at, p.started_at, p.ended_at,
           {STEP_BEGUN.format(step="p.id")}
    FROM unnest(%s::text[], %s::bigint[], %s::bool[]) AS w(step, scope, is_one)
    CROSS JOIN LATERAL (
        (SELECT id, step, scope, iteration, status, created_at, started_at, ended_at FROM django_workflow_steprun
         WHERE w.is_one AND run_id = %s::uuid AND step = w.step AND scope = w.scope
           AND (started_at IS NOT NULL OR %s::bool AND status <> 'cancelled')
         ORDER BY iteration DESC LIMIT %s::int OFFSET %s::int)
        UNION ALL
        (SELECT id, step, scope, iteration, status, created_at, started_at, ended_at FROM django_workflow_steprun
         WHERE NOT w.is_one AND run_id = %s::uuid AND step = w.step
           AND (started_at IS NOT NULL OR %s::bool AND status <> 'cancelled')
         ORDER BY created_at DESC, id DESC LIMIT %s::int OFFSET %s::int)
    ) p
"""  # noqa: S608  a constant
#: Newest passes of each step that are shown as bars, and of all steps together.
MOST_PASSES: Final = 40
MOST_PASSES_OF_ALL: Final = 1_000


def read_passes(
    run_id: UUID, steps: Sequence[StepFacts], most: int, offset: int = 0, *, has_waiting: bool = False
) -> list[Pass]:
    """Read the newest passes of some steps that have begun, of each at most so many.

    has_waiting: also those that have not begun yet, or were skipped.
    """
    page = [run_id, has_waiting, most, offset]
    names, scopes, are_one = [], [], []
    for step in steps:
        names.append(step.step)
        scopes.append(step.scope)
        are_one.append(step.scopes == 1)
    return [Pass(*row) for row in db.rows(READ_PASSES, [names, scopes, are_one, *page, *page])]


def read_course(run_id: UUID, spec: FlowSpec, steps: Mapping[str, StepFacts]) -> Course:
    """Read which ways a run took; nothing where the steps tell all of it."""
    if spec.is_plain:
        return Course()
    ways, several = {}, []
    for name, step in steps.items():
        retries = any(RETRY in item.to for item in spec.outbound[name])
        sources = dict.fromkeys((*spec.predecessors[name], *([name] if retries else [])))
        if len(sources) == 1 and not spec.is_join(name):
            ways[next(iter(sources)), name] = WayFacts(step.led)
        elif not spec.is_join(name):
            several.append(name)
    for source, to, count, delayed, due_at in db.rows(READ_WAYS, [run_id, several, run_id]):
        ways[source, to] = WayFacts(count, delayed, due_at)
    repeated = [step for step in steps.values() if step.passes > 1]
    passes: dict[str, list[Pass]] = {step.step: [] for step in repeated}
    for found in read_passes(run_id, repeated, max(2, min(MOST_PASSES, MOST_PASSES_OF_ALL // max(1, len(repeated))))):
        passes[found.step].append(found)
    return Course(ways, passes)


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
                                               extract(epoch FROM a.ended_at), a.error_class) ORDER BY a.number, a.id)
            FROM (SELECT * FROM django_workflow_attempt WHERE task_id = t.id
                  ORDER BY number DESC, id DESC LIMIT %s::int) a)
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
    shown = [*facts.steps.values(), *([facts.chosen] if facts.chosen is not None else [])]
    names = {step.id: step.step for step in shown if step.id is not None}
    singles = [key for key, name in names.items() if not facts.steps[name].is_map][-MOST_TASKS:]
    params = [
        singles, page.step_run_id, page.status, page.status, page.limit + 1, page.offset, has_payload, MOST_ATTEMPTS
    ]  # fmt: skip
    for is_item, *row, tries in db.rows(READ_TASKS, params):
        task = TaskFacts(*row)
        task.tries = [_try(*values) for values in payload.loads(tries) or ()]
        task.step = names.get(task.step_run_id, "")
        (facts.items if is_item else facts.tasks).append(task)


def read_missing(facts: Facts) -> None:
    """Read what steps wait for because workers lack their code; asked only where tasks wait for a later time."""
    if any(step.tally.delayed for step in facts.steps.values()):
        facts.missing = missing_in(facts.run.pk)


def _try(number: int, outcome: str, begun: float | None, ended: float | None, error_class: str) -> Try:
    return Try(number, outcome, moment(begun), moment(ended), error_class)


def moment(seconds: float | None) -> datetime | None:
    """Return a time given in seconds since the epoch."""
    return None if seconds is None else times.from_epoch(float(seconds))


# earlier runs: at most 50 that succeeded among the last 200, found by the index on (flow, id)
READ_AROUND = f"""
    SELECT clock_timestamp(),
        (SELECT {RUN_BEGUN.format(run="r")} FROM django_workflow_run r WHERE r.id = %s::uuid),
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
            CROSS JOIN unnest(%s::text[]) AS w(step)
            JOIN django_workflow_steprun s
                ON s.run_id = r.id AND s.step = w.step AND s.scope = 0 AND s.iteration = 1
            WHERE s.status = 'succeeded' AND s.started_at IS NOT NULL
            GROUP BY s.step) m)
"""  # noqa: S608  a constant


#: Statuses to which somebody, or a limit, has brought a run: the event tells who and why.
STOPPED: Final = frozenset({PAUSED, CANCELLED, TIMED_OUT})


def read_around(run: Run, spec: FlowSpec) -> Around:
    """Read what is around a run."""
    queues = sorted({step.queue or conf.DEFAULT_QUEUE for step in spec.steps.values()})
    stop = f"run.{run.status}" if run.status in STOPPED else ""
    # of steps that run once: how long a pass took says little of the next one
    once = [name for name in spec.steps if name not in spec.repeating and name not in spec.splits]
    params = [run.pk, run.pk, run.retry_of_id, queues, stop, run.pk, stop, run.flow_id, run.pk, once]
    now, begun_at, retries, old_status, paused, served, stop, medians = db.rows(READ_AROUND, params)[0]
    return Around(
        now=now,
        spans=spans_of(run, begun_at),
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
        RUNNING: step.tally.running,
        SUSPENDED: step.tally.suspended,
        QUEUED: step.tally.queued,
        HELD: step.tally.paused + step.tally.parallel,
    }
    over = step.done - step.failed_count
    if not step.is_settled or step.status == SUCCEEDED:
        counts[SUCCEEDED] = over
    return {status: count for status, count in counts.items() if count}
