"""The page that lists runs: by status, narrowed by filters, page by page, with what can be done to several at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from django_workflow import permissions
from django_workflow.models import FlowDefinition, Run
from django_workflow.operations.runs import RunOperation
from django_workflow.read import counts, find, search
from django_workflow.read.run import durations
from django_workflow.read.runs import in_order
from django_workflow.read.search import Filters, Found
from django_workflow.statuses import RUN_STATUSES
from django_workflow.templatetags.django_workflow import words
from django_workflow.web.access import page
from django_workflow.web.acting.buttons import run_operations
from django_workflow.web.runs import query_string
from django_workflow.web.runs.query_string import address

#: Statuses as tabs: what needs somebody's eye before what went well.
TABS = ("running", "scheduled", "paused", "failed", "timed_out", "cancelled", "succeeded")
#: How the fields are called that stand behind "More filters".
MORE = ("version", "queue", "error", "from", "to")


@dataclass(frozen=True, slots=True)
class Tab:
    """One status above the list."""

    word: str
    url: str
    count: counts.Count | None
    is_current: bool


@dataclass(frozen=True, slots=True)
class Pager:
    """Addresses of the neighbouring pages; empty where there is none. `further` goes on behind the horizon."""

    newest: str = ""
    newer: str = ""
    older: str = ""
    further: str = ""


@require_safe
@page
def run_list(request: HttpRequest) -> HttpResponse:
    """List runs, newest first: six statements at most."""
    flows, visible = visible_flows(request)
    queues = find.queue_names()
    filters = query_string.read(request.GET, flows, queues)
    found = Found([]) if filters.problems else search.find(filters, visible)
    by_status = {} if filters.narrows_beyond_status or filters.problems else counts.count(_counted(filters, visible))
    runs = in_order(found.ids, flows)
    standings = durations.read(runs)
    context = {
        "page": "runs",
        "filters": filters,
        "flows": flows,
        "queues": queues,
        "periods": [(name, said) for name, (_, said) in query_string.PERIODS.items()],
        "statuses": RUN_STATUSES,
        "labels": request.GET.getlist("label") or [""],
        "is_more_open": _is_more_open(request.GET, filters),
        "tabs": _tabs(request.GET, filters, by_status),
        "runs": [(run, standings[run.pk], fitting(run)) for run in runs],
        "pager": _pager(request.GET, filters, found),
        "horizon": found.horizon and find.made_at(found.horizon),
        "is_first": filters.before is None and filters.after is None,
        "bulk_verbs": _bulk_verbs(request.user),
        "is_all_selected": "select" in request.GET,
        "select_all": address(request.GET, select="all", **_cursor(filters)),
        "here": request.get_full_path(),
        "startable": [flow for flow in flows if permissions.may(request.user, permissions.START, flow)][:6],
    }
    return render(request, "django_workflow/run_list.html", context)


def visible_flows(request: HttpRequest) -> tuple[list[FlowDefinition], list[int] | None]:
    """Return the flows whose runs a user may see, and their keys; None for the keys of all."""
    flows = permissions.visible_flows(request.user)
    if flows is not None:
        return flows, [flow.pk for flow in flows]
    return find.flows(), None


def _counted(filters: Filters, visible: list[int] | None) -> list[int] | None:
    return visible if filters.flow is None else [filters.flow.pk]


def _tabs(query: QueryDict, filters: Filters, by_status: dict[str, counts.Count]) -> list[Tab]:
    found = [Tab("All", address(query, status=None), by_status.get("all"), not filters.statuses)]
    for name in TABS:
        word = words(name).capitalize()
        found.append(Tab(word, address(query, status=name), by_status.get(name), name in filters.statuses))
    return found


def _is_more_open(query: QueryDict, filters: Filters) -> bool:
    return any(filters.given[name] for name in MORE) or any(query.getlist("label")) or len(filters.statuses) > 1


def _cursor(filters: Filters) -> dict[str, UUID]:
    cursors = {"before": filters.before, "after": filters.after}
    return {name: value for name, value in cursors.items() if value is not None}


def _pager(query: QueryDict, filters: Filters, found: Found) -> Pager:
    ids, is_backwards = found.ids, filters.after is not None
    direction = "after" if is_backwards else "before"
    is_first = filters.before is None and filters.after is None
    has_newer = bool(ids) and (found.has_more if is_backwards else not is_first)
    has_older = bool(ids) and (is_backwards or found.has_more)
    return Pager(
        newest="" if is_first else address(query),
        newer=address(query, after=ids[0]) if has_newer else "",
        older=address(query, before=ids[-1]) if has_older else "",
        further=address(query, **{direction: found.horizon}) if found.horizon else "",
    )


def fitting(run: Run) -> str:
    """Return the names of what can be done with a run as it stands: a page of runs offers what fits those ticked."""
    return " ".join(item.name for item in run_operations() if item.unfit_in_selection(run) is None)


def _bulk_verbs(user: Any) -> list[tuple[RunOperation[Any], str]]:
    """Return what a user may do to several runs, with the addresses of the pages that ask first."""
    return [
        (item, reverse("django_workflow:runs_action", args=[item.name]))
        for item in run_operations()
        if item.is_allowed(user)
    ]
