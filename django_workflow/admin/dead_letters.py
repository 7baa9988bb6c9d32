"""Dead letters in the admin: what failed for good and waits for somebody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_workflow import permissions
from django_workflow.admin import filters
from django_workflow.admin.base import (
    BoundedPaginator,
    ReadOnlyAdmin,
    change_url,
    json_payload,
    link,
    list_url,
    live_url,
    run_link,
)
from django_workflow.admin.confirming import action
from django_workflow.models import DeadLetter
from django_workflow.operations import DEAD_LETTERS
from django_workflow.read.dead_letters import of_last_attempt
from django_workflow.templatetags.django_workflow import moment
from django_workflow.web.acting.buttons import Button


class LettersPaginator(BoundedPaginator):
    """Counts fewer, for each row is found by a join of several tables."""

    most = 1_000


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    """Dead letters, those of the newest runs first."""

    flow_path = "step_run__run__flow"
    related = ("step_run__run__flow",)
    large = (
        *("item", "output", "step_run__run__input", "step_run__run__output", "step_run__run__flow__draft"),
        "step_run__error",
    )
    paginator = LettersPaginator
    ordering = ("-step_run__run__id", "id")
    list_display = ("step", "place", "run_name", "error_class", "counted", "failed", "queue_name")
    list_filter = (filters.FlowFilter,)
    actions: Sequence[Any] | None = [action(item, "letters") for item in DEAD_LETTERS.values()]
    payload = {"item": json_payload}
    shown = ("step", "place", "run_name", "error_class", "counted", "failed", "queue_name", "attempts_link", "item")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tasks that are dead letters, with what their last attempt died of."""
        rows: Any = super().get_queryset(request)
        return rows.dead().annotate(last_error=of_last_attempt("error_class"))

    def tools(self, request: HttpRequest, obj: DeadLetter) -> list[Button]:
        """Return what the user may do with the letter."""
        if not live_url("board"):
            return []
        return [
            Button(item.name, item.label, f"{live_url('letters_action', item.name)}?ids={obj.pk}", item.is_dangerous)
            for item in DEAD_LETTERS.values()
            if permissions.may(request.user, item.permission, obj.step_run.run.flow)
        ]

    def live_url(self, obj: DeadLetter) -> str:
        """Return the address of the run's live page."""
        return live_url("run", obj.run_id)

    @admin.display(description="step")
    def step(self, task: DeadLetter) -> str:
        """Return the step."""
        return str(task.step_run.step)

    @admin.display(description="item")
    def place(self, task: DeadLetter) -> int:
        """Return the place in a map."""
        return task.index

    @admin.display(description="run")
    def run_name(self, task: DeadLetter) -> Any:
        """Return a link to the run."""
        return run_link(task.step_run.run)

    @admin.display(description="error")
    def error_class(self, task: DeadLetter) -> str:
        """Return the class of the error; its message may hold anything."""
        return task.last_error or "–"  # type: ignore[attr-defined]

    @admin.display(description="attempts")
    def counted(self, task: DeadLetter) -> int:
        """Return how many of its attempts count."""
        return task.failure_count

    @admin.display(description="failed")
    def failed(self, task: DeadLetter) -> Any:
        """Return when it failed."""
        return moment(task.ended_at)

    @admin.display(description="queue")
    def queue_name(self, task: DeadLetter) -> str:
        """Return the queue."""
        return task.queue

    @admin.display(description="history")
    def attempts_link(self, task: DeadLetter) -> Any:
        """Return links to the task and its attempts."""
        return link(list_url("attempt", run=task.run_id), "attempts of the run") + link(
            change_url("task", task.pk), ", the task"
        )
