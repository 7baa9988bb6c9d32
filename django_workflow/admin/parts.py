"""The parts of runs in the admin: step runs, tasks, attempts, events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_workflow.admin import filters
from django_workflow.admin.base import (
    ReadOnlyAdmin,
    change_url,
    error_payload,
    event_payload,
    json_payload,
    link,
    list_url,
    live_url,
    message_payload,
    pill,
    run_link,
    text_payload,
)
from django_workflow.models import Attempt, Erasure, Event, Run, StepRun, Task, Variables
from django_workflow.models.fields import ClockTimestamp
from django_workflow.read import find
from django_workflow.read.run import durations
from django_workflow.read.run.tasks import counted_attempts
from django_workflow.statuses import SKIPPED_BY_HANDLER
from django_workflow.templatetags.django_workflow import elapsed, moment


def variables_payload(value: Variables | None, shows: bool) -> Any:  # noqa: FBT001
    """Show the variables that an activation began with."""
    return json_payload(None if value is None else value.values, shows or value is None)


class PartAdmin(ReadOnlyAdmin):
    """Rows that belong to a run.

    run_path: the lookup to the run's id along which there are indexes.
    """

    run_path: ClassVar[str] = "run"
    search_fields = ("id",)
    search_hint = "The id of a run, its beginning or its end"
    list_filter: ClassVar[Any] = (filters.RunFilter,)

    def run_of(self, obj: Any) -> Run:
        """Return the run of a row."""
        found = obj
        for name in self.run_path.split("__"):
            found = getattr(found, name)
        assert isinstance(found, Run)
        return found

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows with the database's time, to which what has not ended lasts."""
        return super().get_queryset(request).annotate(read_at=ClockTimestamp())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find the rows of runs by their ids."""
        if not search_term.strip():
            return queryset, False
        return filters.of_runs_like(queryset, search_term, self.run_path), False

    def live_url(self, obj: Any) -> str:
        """Return the address of the run's live page."""
        return live_url("run", obj.run_id)

    @admin.display(description="run")
    def run_name(self, obj: Any) -> Any:
        """Return a link to the run."""
        return run_link(self.run_of(obj))

    @admin.display(description="status")
    def state(self, obj: Any) -> Any:
        """Return the status."""
        return pill(obj.status)


@admin.register(StepRun)
class StepRunAdmin(PartAdmin):
    """Step runs, newest first."""

    flow_path = "run__flow"
    related = ("run__flow",)
    large = ("run__input", "run__output", "run__error", "run__flow__draft")
    ordering = ("-id",)
    list_display = ("__str__", "run_name", "state", "tasks", "begun", "waited", "ran", "why")
    list_filter: ClassVar[Any] = (filters.RunFilter, filters.StepStatusFilter)
    payload = {"message": message_payload, "error": error_payload, "variables": variables_payload}
    shown = (
        *("step", "iteration", "scope", "led_by", "run_name", "state", "tasks", "reached", "begun", "waited", "ran"),
        *("reason", "message", "error", "variables"),
    )

    def live_url(self, obj: StepRun) -> str:
        """Return the address of the step on the run's live page."""
        url = live_url("run", obj.run_id)
        return f"{url}?{urlencode({'step': obj.step, 'activation': obj.pk})}" if url else ""

    def links(self, obj: StepRun) -> list[tuple[str, str]]:
        """Return the list of the run's tasks."""
        return [("Tasks of the run", list_url("task", run=obj.run_id))]

    @admin.display(description="led here by")
    def led_by(self, step: StepRun) -> Any:
        """Return a link to the activation that led here last."""
        if step.source_id is None:
            return "–"
        found = find.step_run(step.source_id)
        return link(change_url("steprun", step.source_id), str(found)) if found is not None else "–"

    @admin.display(description="tasks")
    def tasks(self, step: StepRun) -> str:
        """Return how many tasks are over, and have failed."""
        failed = f", {step.failed_count} failed" if step.failed_count else ""
        return f"{step.task_count - step.open_tasks} of {step.task_count} over{failed}"

    def prepare(self, rows: Sequence[StepRun]) -> None:
        """Read when workers began the steps."""
        found = durations.read_begins(rows)
        for step in rows:
            step.begun_at = found.get(step.pk)  # type: ignore[attr-defined]

    def begun_at(self, step: Any) -> datetime | None:
        """Return when a worker began the first task of a step."""
        if not hasattr(step, "begun_at"):
            self.prepare([step])
        found: datetime | None = step.begun_at
        return found

    @admin.display(description="reached")
    def reached(self, step: StepRun) -> Any:
        """Return when the run reached it."""
        return moment(step.started_at)

    @admin.display(description="started")
    def begun(self, step: StepRun) -> Any:
        """Return when a worker began it."""
        return moment(self.begun_at(step))

    @admin.display(description="waited")
    def waited(self, step: Any) -> Any:
        """Return how long it waited, or waits, for a worker."""
        begun_at = self.begun_at(step)
        return (
            "–" if begun_at is None and step.ended_at is not None else elapsed(step.started_at, begun_at, step.read_at)
        )

    @admin.display(description="ran")
    def ran(self, step: Any) -> Any:
        """Return how long it ran, or runs, since a worker began it."""
        return elapsed(self.begun_at(step), step.ended_at, step.read_at)

    @admin.display(description="why skipped")
    def why(self, step: StepRun) -> str:
        """Return why it was skipped; what a handler said only the step's own page shows."""
        return "said by its handler" if step.reason == SKIPPED_BY_HANDLER else step.reason or "–"


@admin.register(Task)
class TaskAdmin(PartAdmin):
    """Tasks, newest first."""

    run_path = "step_run__run"
    flow_path = "step_run__run__flow"
    related = ("step_run__run__flow", "worker")
    large = (
        *("item", "output", "step_run__error", "step_run__run__input", "step_run__run__output"),
        *("step_run__run__error", "step_run__run__flow__draft"),
    )
    ordering = ("-id",)
    list_display = ("step", "index_shown", "run_name", "state", "queue_name", "tries", "begun", "took")
    list_filter: ClassVar[Any] = (filters.RunFilter, filters.TaskStatusFilter)
    payload = {"item": json_payload, "output": json_payload}
    shown = (
        *("step", "index_shown", "run_name", "state", "hold_reason", "origin", "queue_name", "tries", "worker_name"),
        *("progress", "due_at", "begun", "took", "item", "output"),
    )

    def links(self, obj: Task) -> list[tuple[str, str]]:
        """Return the list of the run's attempts."""
        return [("Failed attempts of the run", list_url("attempt", run=obj.run_id))]

    @admin.display(description="step")
    def step(self, task: Task) -> str:
        """Return the step."""
        return str(task.step_run)

    @admin.display(description="item")
    def index_shown(self, task: Task) -> int:
        """Return the place in a map."""
        return task.index

    @admin.display(description="queue")
    def queue_name(self, task: Task) -> str:
        """Return the queue."""
        return task.queue

    @admin.display(description="attempts")
    def tries(self, task: Task) -> str:
        """Return how many attempts count, and how many of them failed."""
        count = counted_attempts(task)
        return f"{count}, {task.failure_count} failed" if task.failure_count else str(count)

    @admin.display(description="worker")
    def worker_name(self, task: Task) -> Any:
        """Return the worker that has it, or had it last."""
        return link(change_url("worker", task.worker_id), str(task.worker)) if task.worker_id else "–"

    @admin.display(description="begun")
    def begun(self, task: Task) -> Any:
        """Return when its last attempt was begun."""
        return moment(task.begun_at)

    @admin.display(description="last attempt ran")
    def took(self, task: Any) -> Any:
        """Return how long its last attempt ran, or runs."""
        return elapsed(task.begun_at, task.ended_at, task.read_at) if task.begun_at else "–"


@admin.register(Attempt)
class AttemptAdmin(PartAdmin):
    """Attempts that ended otherwise than by success, newest first."""

    run_path = "task__step_run__run"
    flow_path = "task__step_run__run__flow"
    related = ("task__step_run__run__flow", "worker")
    large = (
        *("message", "traceback", "task__item", "task__output", "task__step_run__error"),
        *("task__step_run__run__input", "task__step_run__run__output"),
        *("task__step_run__run__error", "task__step_run__run__flow__draft"),
    )
    ordering = ("-id",)
    list_display = ("step", "number_shown", "run_name", "result", "error_class", "ended", "took")
    list_display_links = ("number_shown",)  # the step leads to its task
    payload = {"message": text_payload, "traceback": text_payload}
    shown = (
        *("step", "number_shown", "run_name", "result", "is_counted", "error_class", "fingerprint", "ended", "took"),
        *("worker_name", "late_outcome", "superseded_at", "message", "traceback"),
    )

    @admin.display(description="step")
    def step(self, attempt: Attempt) -> Any:
        """Return the step and the place in a map, with a link to the task."""
        return link(change_url("task", attempt.task_id), f"{attempt.task.step_run}[{attempt.task.index}]")

    @admin.display(description="attempt")
    def number_shown(self, attempt: Attempt) -> int:
        """Return the number."""
        return attempt.number

    @admin.display(description="outcome")
    def result(self, attempt: Attempt) -> Any:
        """Return the outcome."""
        return pill(attempt.outcome)

    @admin.display(description="ended")
    def ended(self, attempt: Attempt) -> Any:
        """Return when it ended."""
        return moment(attempt.ended_at)

    @admin.display(description="ran")
    def took(self, attempt: Any) -> Any:
        """Return how long it ran."""
        return elapsed(attempt.begun_at, attempt.ended_at, attempt.read_at)

    @admin.display(description="worker")
    def worker_name(self, attempt: Attempt) -> Any:
        """Return the worker."""
        return link(change_url("worker", attempt.worker_id), str(attempt.worker)) if attempt.worker_id else "–"


@cache
def _data_of_event(shows: bool) -> Any:  # noqa: FBT001
    @admin.display(description="data")
    def data(event: Event) -> Any:
        return event_payload(event, shows)

    return data


@admin.register(Event)
class EventAdmin(PartAdmin):
    """Events, newest first."""

    flow_path = "run__flow"
    related = ("run__flow",)
    large = ("data", "run__input", "run__output", "run__error", "run__flow__draft")
    ordering = ("-id",)
    list_display = ("type_shown", "step_shown", "run_name", "number_shown", "at")
    payload = {"data": json_payload}
    shown = ("type_shown", "step_shown", "run_name", "number_shown", "at", "data")

    def payload_field(self, name: str, shows: bool) -> Any:  # noqa: FBT001
        """Return the field that shows the data: how much of it may be seen depends on who wrote the event."""
        return _data_of_event(shows)

    @admin.display(description="event")
    def type_shown(self, event: Event) -> str:
        """Return the type."""
        return event.type

    @admin.display(description="step")
    def step_shown(self, event: Event) -> str:
        """Return the step."""
        return event.step or "–"

    @admin.display(description="number")
    def number_shown(self, event: Event) -> int:
        """Return its place among the run's."""
        return event.number

    @admin.display(description="at")
    def at(self, event: Event) -> Any:
        """Return when it happened."""
        return moment(event.created_at)


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """What was erased of runs, the latest first."""

    flow_path = "flow"
    related = ("flow",)
    large = ("flow__draft",)
    ordering = ("-id",)
    list_display = ("run_id", "flow_slug", "what", "by", "erased")
    shown = ("run_id", "flow_slug", "what", "counts", "by", "reason", "erased")

    @admin.display(description="erased")
    def erased(self, obj: Erasure) -> Any:
        """Return when it was erased."""
        return moment(obj.created_at)
