"""All that is known of a run, as data: a fixed number of statements, whatever the run's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django_workflow import db, payload, queue, times
from django_workflow.conf import conf
from django_workflow.definition.elements import DEPENDENCY_OUTCOMES
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import Run
from django_workflow.read.run import tasks
from django_workflow.read.run.course import Course, read_course
from django_workflow.read.run.durations import MEDIANS, RUN_BEGUN, Spans, clock_end, spans_of
from django_workflow.read.run.needed_code import Missing, missing_in
from django_workflow.read.run.steps import NOT_REACHED, StepFacts
from django_workflow.read.run.tasks import ItemPage, TaskFacts
from django_workflow.read.workers import IS_LIVE
from django_workflow.statuses import CANCELLED, PAUSED, QUEUED, RUN_TERMINAL, SUCCEEDED, TIMED_OUT


@dataclass(slots=True)
class Pause:
    """Who holds something, since when and why."""

    since: datetime | None
    by: str = ""
    reason: str = ""


@dataclass(slots=True)
class Around:
    """What is around a run: its retries, queues and workers, and earlier runs of its flow."""

    #: The database's time at which this was read.
    now: datetime
    #: How long the run waited for its first worker, and ran.
    spans: Spans
    #: Runs that retry it, with their statuses.
    retries: list[tuple[UUID, str]]
    #: The status of the run that this one retries; None where there is none, or it is deleted.
    retry_of: str | None
    paused_queues: dict[str, Pause]
    #: Queues that a live worker serves.
    served: set[str]
    #: Who paused or cancelled it, and why.
    stop: Pause | None
    #: Seconds that a step took in earlier succeeded runs.
    medians: dict[str, float]


@dataclass
class Facts:
    """All that is known of a run: the one value that pages and commands show."""

    run: Run
    spec: FlowSpec
    steps: dict[str, StepFacts]
    around: Around
    course: Course = field(default_factory=Course)
    #: A step run of the chosen step that is not the one in `steps`.
    chosen: StepFacts | None = None
    #: Of steps without items.
    tasks: list[TaskFacts] = field(default_factory=list)
    #: A page of the items of a map.
    items: list[TaskFacts] = field(default_factory=list)
    #: Code that workers did not have for steps that wait for it, by step.
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


def read_facts(
    run: Run,
    spec: FlowSpec,
    steps: dict[str, StepFacts],
    *,
    chosen: StepFacts | None = None,
    page: ItemPage | None = None,
    has_payload: bool = False,
) -> Facts:
    """Read all about a run besides where its steps stand: two statements, four where steps may run again.

    One more where tasks wait for a later time.
    chosen: a step run that is looked at. page: the items of a map that are read. has_payload: with the items.
    """
    facts = Facts(run, spec, steps, read_around(run, spec), read_course(run.pk, spec, steps))
    if chosen is not None and chosen is not steps[chosen.step]:
        facts.chosen = chosen
    shown = [*steps.values(), *([facts.chosen] if facts.chosen is not None else [])]
    names = {step.id: step.step for step in shown if step.id is not None}
    singles = [key for key, name in names.items() if not steps[name].is_map]
    facts.tasks, facts.items = tasks.read_tasks(singles, page or ItemPage(), names, has_payload=has_payload)
    if any(step.tally.delayed for step in steps.values()):
        facts.missing = missing_in(run.pk)
    return facts


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
         WHERE {IS_LIVE}),
        (SELECT jsonb_build_array(extract(epoch FROM e.created_at), e.data->>'by', e.data->>'reason')
         FROM django_workflow_event e WHERE %s::text <> '' AND e.run_id = %s::uuid AND e.type = %s::text
         ORDER BY e.number DESC LIMIT 1),
        (SELECT jsonb_object_agg(m.step, m.seconds) FROM ({MEDIANS}) m)
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
    return Pause(times.of_epoch(since), by or "", reason or "")


#: Messages before a task's own are counted up to here.
MOST_AHEAD: Final = 1_000


def read_ahead(facts: Facts, task: TaskFacts) -> int | None:
    """Return how many messages stand before a task's own; None for a task that does not wait for a worker."""
    is_due = task.due_at is None or task.due_at <= facts.now
    if task.status != QUEUED or not is_due or task.message_id is None or task.queue not in facts.around.served:
        return None
    return queue.ahead(task.queue, task.message_id, MOST_AHEAD)
