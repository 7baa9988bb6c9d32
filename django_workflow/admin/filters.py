"""Filters that cost nothing: their choices are known, and what they choose has an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_workflow import statuses
from django_workflow.admin.base import visible_flows
from django_workflow.read import clock, find

Choices = list[tuple[str, str]]

#: Runs that are shown of those whose id begins or ends with some digits.
MOST_LIKE = 1_000


class FlowFilter(admin.SimpleListFilter):
    """Rows of one flow, among those that the user may see."""

    title = "flow"
    parameter_name = "flow"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.path = model_admin.flow_path
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the flows."""
        flows = visible_flows(request)
        if flows is None:
            flows = find.flows()
        self.keys = {flow.slug: flow.pk for flow in flows}
        return [(flow.slug, str(flow)) for flow in flows]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the flow."""
        if self.value() is None:
            return queryset
        # by its key: a join would be made row by row
        return queryset.filter(**{self.path: self.keys.get(str(self.value()), 0)})


class StatusFilter(admin.SimpleListFilter):
    """Runs of one status."""

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the statuses."""
        return statuses.choices(statuses.RUN_STATUSES)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the runs of the status."""
        return of_status(queryset, self.value(), statuses.RUN_STATUSES)


class StartedFilter(admin.SimpleListFilter):
    """Runs made lately."""

    title = "time"
    parameter_name = "within"
    periods = {
        "hour": ("the last hour", timedelta(hours=1)),
        "day": ("the last 24 hours", timedelta(days=1)),
        "week": ("the last 7 days", timedelta(days=7)),
        "month": ("the last 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the periods."""
        return [(name, text) for name, (text, _) in self.periods.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the runs of the period: by their ids, which are made of time and have the index, and by the time."""
        if self.value() not in self.periods:
            return queryset
        since = clock.now() - self.periods[str(self.value())][1]
        lowest = UUID(int=find.lowest_at(since, -find.CLOCK_DIFFERENCE))
        return queryset.filter(pk__gte=lowest, created_at__gte=since)


class RunFilter(admin.SimpleListFilter):
    """Rows of one run; its lists are linked from the run's page, so it has no choices of its own."""

    title = "run"
    parameter_name = "run"

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.path = model_admin.run_path
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the run that the address names."""
        given = self.used_parameters.get(self.parameter_name)
        given = given[-1] if isinstance(given, list) else given
        return [(given, f"run {given[-12:]}")] if given else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the run."""
        if self.value() is None:
            return queryset
        run_id = whole_id(str(self.value()))
        return queryset.none() if run_id is None else queryset.filter(**{self.path: run_id})


class StatusInRunFilter(admin.SimpleListFilter):
    """Rows of one status within a run: without one a whole table would be read, for no index knows the status."""

    title = "status"
    parameter_name = "status"
    values: tuple[str, ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Return the statuses, where the rows are those of a run."""
        return statuses.choices(self.values) if request.GET.get("run") else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the status."""
        return of_status(queryset, self.value(), self.values)


class StepStatusFilter(StatusInRunFilter):
    """Step runs of one status."""

    values = statuses.STEP_RUN_STATUSES


class TaskStatusFilter(StatusInRunFilter):
    """Tasks of one status."""

    values = statuses.TASK_STATUSES


def of_status(queryset: QuerySet[Any], status: str | None, known: Sequence[str]) -> QuerySet[Any]:
    """Return the rows of a status that an address names; none of one that is unknown, which may be no text at all."""
    if status is None:
        return queryset
    return queryset.filter(status=status) if status in known else queryset.none()


def whole_id(text: str) -> UUID | None:
    """Return the id that a text is, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


def of_runs_like(queryset: QuerySet[Any], text: str, path: str) -> QuerySet[Any]:
    """Return the rows of runs whose id is, begins or ends with what a text says; of recent runs where it ends so."""
    return queryset.filter(**{f"{path}__in": find.runs_like(text, MOST_LIKE, among=find.NEWEST)})
