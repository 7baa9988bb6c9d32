"""The live pages: `path("workflow/", include("django_workflow.urls"))`."""

from __future__ import annotations

from django.urls import URLPattern, path

from django_workflow.web import access, actions, board, places, run_list, run_page, starting

app_name = "django_workflow"

urlpatterns: list[URLPattern] = [
    path("", board.board, name="board"),
    path("queues/", places.queues, name="queues"),
    path("workers/", places.workers, name="workers"),
    path("runs/", run_list.run_list, name="run_list"),
    path("runs/<uuid:run_id>/", run_page.run, name="run"),
    path("runs/actions/<slug:name>/", actions.act_on_runs, name="runs_action"),
    path("runs/<str:text>/", access.no_run, name="no_run"),
    path("runs/<uuid:run_id>/actions/<slug:name>/", actions.act_on_run, name="run_action"),
    path("queues/<str:queue>/actions/<slug:name>/", actions.act_on_queue, name="queue_action"),
    path("flows/<slug:slug>/actions/<slug:name>/", actions.act_on_flow, name="flow_action"),
    path("flows/<slug:slug>/start/", starting.start, name="start"),
    path("dead-letters/actions/<slug:name>/", actions.act_on_letters, name="letters_action"),
]
