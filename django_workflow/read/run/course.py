"""The way of a run through its flow: the ways it took, step runs of repeated steps, and what led to one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Count

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.names import RETRY
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import StepRun, Task
from django_workflow.read.run.durations import STEP_BEGUN, read_begins
from django_workflow.read.run.steps import StepFacts


@dataclass(frozen=True, slots=True)
class WayFacts:
    """A way from a step to a step."""

    #: How often it was taken.
    count: int
    #: On how many of these somebody still is, and when the first of them arrives.
    delayed: int = 0
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """One step run, as far as lists and bars show it."""

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
    """What a run did that steps alone do not tell."""

    #: The ways it took.
    ways: dict[tuple[str, str], WayFacts] = field(default_factory=dict)
    #: The newest step runs that began, of steps that ran several times.
    passes: dict[str, list[Pass]] = field(default_factory=dict)


# a step run tells where it came from; a join only its last arrival, so those are counted themselves
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


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A step run that led to another one, or that it led to."""

    #: None for a join that its arrival has not reached yet.
    id: int | None
    step: str
    scope: int
    iteration: int
    status: str
    #: At a join.
    generation: int | None
    #: When it arrives.
    due_at: datetime | None


# of a join its arrivals are asked: its row knows the last of them only
READ_NEIGHBOURS = """
    (SELECT 'from', s.id, s.step, s.scope, s.iteration, s.status, NULL::int, NULL::timestamptz
     FROM django_workflow_steprun s WHERE s.id = %s::bigint AND NOT %s::bool)
    UNION ALL
    (SELECT 'from', a.source_run_id, a.source, a.scope, coalesce(s.iteration, 1), coalesce(s.status, ''), a.generation,
            NULL
     FROM django_workflow_arrival a LEFT JOIN django_workflow_steprun s ON s.id = a.source_run_id
     WHERE a.run_id = %s::uuid AND a.step = %s::text AND a.scope = %s::bigint AND a.step_run_id = %s::bigint
     ORDER BY a.id LIMIT %s::int)
    UNION ALL
    (SELECT 'to', s.id, s.step, s.scope, s.iteration, s.status, NULL, NULL FROM django_workflow_steprun s
     WHERE s.run_id = %s::uuid AND s.source_id = %s::bigint AND s.step <> ALL(%s::text[]) ORDER BY s.id LIMIT %s::int)
    UNION ALL
    (SELECT 'to', a.step_run_id, a.step, a.scope, coalesce(s.iteration, 1), coalesce(s.status, ''), a.generation,
            a.due_at
     FROM django_workflow_arrival a LEFT JOIN django_workflow_steprun s ON s.id = a.step_run_id
     WHERE a.run_id = %s::uuid AND a.source_run_id = %s::bigint ORDER BY a.id LIMIT %s::int)
"""


def read_neighbours(
    run_id: UUID, step: StepFacts, spec: FlowSpec, most: int
) -> tuple[list[Neighbour], list[Neighbour]]:
    """Read what led to a step run, and what it led to: one statement."""
    joins = [name for name in spec.steps if spec.is_join(name)]
    params = [
        step.source_id, spec.is_join(step.step), run_id, step.step, step.scope, step.id, most,
        run_id, step.id, joins, most, run_id, step.id, most,
    ]  # fmt: skip
    led_by: list[Neighbour] = []
    leads: list[Neighbour] = []
    for side, *columns in db.rows(READ_NEIGHBOURS, params):
        (led_by if side == "from" else leads).append(Neighbour(*columns))
    return led_by, leads


READ_VARIABLES = "SELECT left(values::text, %s::int), length(values::text) FROM django_workflow_variables WHERE id = %s"


def read_variables(key: int, most: int) -> tuple[str | None, int | None]:
    """Return the JSON text of published variables, cut to so many characters, and how long it really is."""
    rows = db.rows(READ_VARIABLES, [most, key])
    return rows[0] if rows else (None, None)


@dataclass(frozen=True, slots=True)
class StepRunDetail:
    """A step run with what its row does not tell."""

    step_run: StepRun
    #: How many tasks it has, by status.
    tasks: dict[str, int]
    #: When a worker began the first of them.
    begun_at: datetime | None


def newest_step_runs(run_id: UUID, most: int, ids: Sequence[int] | None = None) -> list[StepRunDetail]:
    """Return a run's newest step runs, or those with some ids, in the order in which they began: three statements."""
    rows = StepRun.objects.using(conf.DATABASE).filter(run_id=run_id)
    newest: list[StepRun] = list((rows if ids is None else rows.filter(pk__in=ids)).order_by("-id")[:most])
    # a join is made before it starts
    shown = sorted(newest, key=lambda step: (step.started_at or step.ended_at or step.created_at, step.pk))
    begins = read_begins(shown)
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    tasks = Task.objects.using(conf.DATABASE).filter(step_run__in=[step.pk for step in shown])
    for key, status, count in tasks.order_by().values_list("step_run", "status").annotate(Count("id")):
        counts[key][status] = count
    return [StepRunDetail(step, counts[step.pk], begins.get(step.pk)) for step in shown]
