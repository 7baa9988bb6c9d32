"""The board: what runs now, what went wrong, who works, and what can be started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from django_workflow.read import queues, runs, workers
from django_workflow.read.counts import MINUTES, Count, figures
from django_workflow.statuses import PAUSED, RUNNING, SCHEDULED
from django_workflow.web.access import page
from django_workflow.web.acting.buttons import flow_buttons
from django_workflow.web.overview import throughput
from django_workflow.web.runs.run_list import visible_flows

#: Flows that are shown at once; the others are folded away.
FLOWS: Final = 12


@require_safe
@page
def board(request: HttpRequest) -> HttpResponse:
    """Show what runs now: six statements at most."""
    flows, visible = visible_flows(request)
    counts, ends = figures(visible)
    failures, finished = runs.latest(flows, visible)
    found, seen = queues.read()
    queues.read_depths(found)
    live = workers.live(seen)
    buttons = [(flow, flow_buttons(request.user, flow)) for flow in flows if flow.retired_at is None]
    context = {
        "page": "board",
        "counts": {name: counts[name] for name in (RUNNING, SCHEDULED, PAUSED)},
        "is_new": not any(count.number for count in counts.values()),
        "throughput": ends,
        "spark": {
            "bars": throughput.bars(ends),
            "width": throughput.WIDTH,
            "height": throughput.HEIGHT,
            "bar": throughput.WIDTH / MINUTES - throughput.GAP,
        },
        "running": runs.running(flows, visible),
        "failures": failures,
        "finished": finished,
        "flows": buttons[:FLOWS],
        "more_flows": buttons[FLOWS:],
        "may_start": any(button.name == "start" for _, offered in buttons for button in offered),
        "queues": found,
        "warnings": [state for state in found if state.is_abandoned or state.is_late or state.paused_at],
        "paused_flows": [flow for flow in flows if flow.paused_at is not None],
        "waiting": _sum([state.visible for state in found]),
        "workers": live,
        "silent": [worker for worker in seen if worker.state == workers.SILENT],
        "busy": sum(worker.running_count for worker in live),
        "room": sum(worker.concurrency for worker in live),
    }
    return render(request, "django_workflow/board.html", context)


def _sum(counts: Sequence[Count]) -> Count:
    number = sum(count.number for count in counts)
    return Count(min(number, queues.MOST), is_more=number > queues.MOST or any(c.is_more for c in counts))
