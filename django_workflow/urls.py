"""The live pages: `path("workflow/", include("django_workflow.urls"))`."""

from __future__ import annotations

from django.urls import URLPattern

app_name = "django_workflow"

urlpatterns: list[URLPattern] = []
