"""Runs in the admin: the list, the page of one, and what is done with several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from django_workflow.admin import filters
from django_workflow.admin.base import (
    ReadOnlyAdmin,
    change_url,
    error_payload,
    json_payload,
    link,
    list_url,
    live_url,
    pill,
)
from django_workflow.admin.confirming import action
from django_workflow.models import Run
from django_workflow.operations.several import SeveralRuns
from django_workflow.read import find
from django_workflow.read.run import durations
from django_workflow.read.run.durations import Standing
from django_workflow.templatetags.django_workflow import elapsed, moment
from django_workflow.web.acting.buttons import Button, buttons, run_operations


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs, newest first."""

    flow_path = "flow"
    related = ("flow", "version")
    large = ("input", "output", "flow__draft", "flow__overrides", "version__spec")
    list_display = ("name", "flow_and_version", "state", "created", "waited", "ran", "what_failed", "live")
    list_filter = (filters.StatusFilter, filters.FlowFilter, filters.StartedFilter)
    search_fields = ("id",)
    search_hint = "The beginning or end of an id, an idempotency key, or a label as name=value"
    actions: Sequence[Any] | None = [action(SeveralRuns(item), "runs") for item in run_operations()]
    payload = {"input": json_payload, "output": json_payload, "error": error_payload}
    shown = (
        *("id", "flow_name", "number", "state", "title", "labels_text", "idempotency_key", "started_by"),
        *("retry_link", "created", "begun", "waited", "ran", "due_at", "deadline_at", "paused_at", "ended"),
        *("input", "output", "error"),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find runs by an id, its beginning or its end, a key, or a label."""
        term = search_term.strip()
        if not term:
            return queryset, False
        name, is_label, value = term.partition("=")
        if is_label and name:
            # labels that are there are in a partial index
            return queryset.filter(~Q(labels={}), labels__contains={name.strip(): value.strip()}), False
        if found := find.runs_with_key(term):
            return queryset.filter(pk__in=found), False
        return filters.of_runs_like(queryset, term, "pk"), False

    def tools(self, request: HttpRequest, obj: Run) -> list[Button]:
        """Return what the user may do with the run."""
        return buttons(request.user, obj) if live_url("board") else []

    def live_url(self, obj: Run) -> str:
        """Return the address of the run's live page."""
        return live_url("run", obj.pk)

    def links(self, obj: Run) -> list[tuple[str, str]]:
        """Return the lists of what belongs to the run."""
        names = {"Steps": "steprun", "Tasks": "task", "Failed attempts": "attempt", "Events": "event"}
        return [(text, list_url(name, run=obj.pk)) for text, name in names.items()]

    @admin.display(description="run")
    def name(self, run: Run) -> Any:
        """Return the title, or the flow with the end of the id."""
        return str(run)

    @admin.display(description="flow")
    def flow_and_version(self, run: Run) -> Any:
        """Return a link to the flow, with the version."""
        return format_html("{} v{}", link(change_url("flowdefinition", run.flow_id), run.flow.slug), run.version.number)

    @admin.display(description="flow")
    def flow_name(self, run: Run) -> Any:
        """Return a link to the flow."""
        return link(change_url("flowdefinition", run.flow_id), run.flow.slug)

    @admin.display(description="version")
    def number(self, run: Run) -> Any:
        """Return a link to the version."""
        return link(change_url("flowversion", run.version_id), f"v{run.version.number}")

    @admin.display(description="status")
    def state(self, run: Run) -> Any:
        """Return the status."""
        return pill(run.status)

    def prepare(self, rows: Sequence[Run]) -> None:
        """Read when workers began the runs."""
        found = durations.read(rows)
        for run in rows:
            run.standing = found[run.pk]  # type: ignore[attr-defined]

    def standing(self, run: Any) -> Standing:
        """Return how long a run waited and ran."""
        if not hasattr(run, "standing"):
            self.prepare([run])
        found: Standing = run.standing
        return found

    @admin.display(description="started")
    def begun(self, run: Run) -> Any:
        """Return when a worker began it."""
        return moment(self.standing(run).spans.begun_at)

    @admin.display(description="created")
    def created(self, run: Run) -> Any:
        """Return when it was made."""
        return moment(run.created_at)

    @admin.display(description="ended")
    def ended(self, run: Run) -> Any:
        """Return when it ended."""
        return moment(run.ended_at)

    @admin.display(description="waited")
    def waited(self, run: Run) -> Any:
        """Return how long it waited, or waits, for a worker."""
        standing = self.standing(run)
        return elapsed(standing.spans.waits_from, standing.spans.waits_to, standing.read_at)

    @admin.display(description="ran")
    def ran(self, run: Run) -> Any:
        """Return how long it ran, or runs, since a worker began it."""
        standing = self.standing(run)
        return elapsed(standing.spans.runs_from, standing.spans.runs_to, standing.read_at)

    @admin.display(description="error")
    def what_failed(self, run: Run) -> str:
        """Return the class of the error, and its step."""
        if not isinstance(run.error, dict):
            return "–"
        step = f" in {run.error['step']}" if run.error.get("step") else ""
        return f"{str(run.error.get('class', '')).rpartition('.')[2]}{step}"

    @admin.display(description="live")
    def live(self, run: Run) -> Any:
        """Return a link to the live page."""
        return link(live_url("run", run.pk), "live") if live_url("board") else "–"

    @admin.display(description="labels")
    def labels_text(self, run: Run) -> str:
        """Return the labels."""
        return ", ".join(f"{name}={value}" for name, value in run.labels.items()) or "–"

    @admin.display(description="retry of")
    def retry_link(self, run: Run) -> Any:
        """Return a link to the run that this one retries."""
        return link(change_url("run", run.retry_of_id), str(run.retry_of_id)) if run.retry_of_id else "–"
