"""Reading what the run page shows: a fixed number of statements, whatever the run's size."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django_workflow import db, payload, times
from django_workflow.conf import conf
from django_workflow.definition.elements import MAP
from django_workflow.definition.names import RETRY
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import Run
from django_workflow.read.durations import RUN_BEGUN, STEP_BEGUN, spans_of
from django_workflow.read.needed_code import missing_in
from django_workflow.statuses import CANCELLED, FAILED, HELD, PAUSED, QUEUED, RUNNING, SUCCEEDED, SUSPENDED, TIMED_OUT
from django_workflow.web.run.facts import (
    MOST_ATTEMPTS,
    Around,
    Course,
    Facts,
    Pass,
    Pause,
    StepFacts,
    TaskFacts,
    Try,
    WayFacts,
)
from django_workflow.web.run.task_counts import COUNTED, NONE, Tally, tallies

#: Tasks of steps without items that are read for the timeline.
MOST_TASKS: Final = 500
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
           s.failed_count, s.created_at, s.started_at, s.ended_at, s.reason, s.message, s.error, c.passes, c.scopes,
           c.led, c.open_passes, c.waiting_passes, c.sizes, c.over, c.failures, c.succeeded + d.count,
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
ERROR, OPEN_PASSES, SIZES, COUNTS = 14, 18, 20, 32
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
