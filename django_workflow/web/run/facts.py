"""What the run page knows about a run, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django_workflow.conf import conf
from django_workflow.definition.elements import DEPENDENCY_OUTCOMES
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import Run
from django_workflow.read.durations import Spans, clock_end
from django_workflow.read.needed_code import Missing
from django_workflow.statuses import FAILED, HELD, QUEUED, RUN_TERMINAL, RUNNING, STEP_TERMINAL, SUCCEEDED, SUSPENDED
from django_workflow.web.run.task_counts import NONE, Tally

#: What the page calls a step that the run has not reached: it has no row.
NOT_REACHED: Final = "not_reached"
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
    message: str = ""
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
