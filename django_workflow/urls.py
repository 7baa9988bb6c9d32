"""The live pages: `path("workflow/", include("django_workflow.urls"))`."""

from __future__ import annotations

from django.urls import URLPattern, path

from django_workflow.web import access
from django_workflow.web.acting import pages, start
from django_workflow.web.overview import board, workers_and_queues
from django_workflow.web.run import run_page
from django_workflow.web.runs import run_list

app_name = "django_workflow"

urlpatterns: list[URLPattern] = [
    path("", board.board, name="board"),
    path("queues/", workers_and_queues.queues, name="queues"),
    path("workers/", workers_and_queues.workers, name="workers"),
    path("runs/", run_list.run_list, name="run_list"),
    path("runs/<uuid:run_id>/", run_page.run, name="run"),
    path("runs/actions/<slug:name>/", pages.act_on_runs, name="runs_action"),
    path("runs/<str:text>/", access.no_run, name="no_run"),
    path("runs/<uuid:run_id>/actions/<slug:name>/", pages.act_on_run, name="run_action"),
    path("queues/<str:queue>/actions/<slug:name>/", pages.act_on_queue, name="queue_action"),
    path("flows/<slug:slug>/actions/<slug:name>/", pages.act_on_flow, name="flow_action"),
    path("flows/<slug:slug>/start/", start.start, name="start"),
    path("dead-letters/actions/<slug:name>/", pages.act_on_letters, name="letters_action"),
]
