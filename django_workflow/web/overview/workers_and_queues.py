"""The pages of queues and of workers: what waits, who works, and what nobody takes."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from django_workflow.read import queues as queue_states
from django_workflow.read import workers as worker_states
from django_workflow.read.workers import SILENT, STOPPED
from django_workflow.web.access import page
from django_workflow.web.acting.buttons import queue_buttons


@require_safe
@page
def queues(request: HttpRequest) -> HttpResponse:
    """List queues: two statements."""
    found, workers_found = queue_states.read()
    queue_states.read_depths(found)
    context = {
        "page": "queues",
        "queues": [(state, queue_buttons(request.user, state)) for state in found],
        "has_workers": bool(worker_states.live(workers_found)),
        "here": request.get_full_path(),
    }
    return render(request, "django_workflow/queues.html", context)


@require_safe
@page
def workers(request: HttpRequest) -> HttpResponse:
    """List worker processes: one statement."""
    found = worker_states.read(with_stopped=True)
    live = worker_states.live(found)
    context = {
        "page": "workers",
        "workers": [worker for worker in found if worker.state != STOPPED],
        "stopped": [worker for worker in found if worker.state == STOPPED],
        "silent": [worker for worker in found if worker.state == SILENT],
        "live": len(live),
        "busy": sum(worker.running_count for worker in live),
        "room": sum(worker.concurrency for worker in live),
    }
    return render(request, "django_workflow/workers.html", context)
