"""The door of every live page: who is let in, and what is theirs to see."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.urls import NoReverseMatch, reverse

from django_workflow import permissions
from django_workflow.models import Run
from django_workflow.read import find

View = Callable[..., HttpResponse]


def page(view: View) -> View:
    """Let a view be seen by users with `view_run`: others are asked to log in, or told that they may not see it."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path(), login_url())
        try:
            require(request, permissions.VIEW)
            response = view(request, *args, **kwargs)
        except PermissionDenied:
            response = refusal(request)
        except Http404 as error:
            response = render(request, "django_workflow/404.html", {"reason": str(error)}, status=404)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response

    return guarded


def refusal(request: HttpRequest) -> HttpResponse:
    """Return the page that says what its reader may not do, and leads on."""
    back = f"{login_url()}?{urlencode({REDIRECT_FIELD_NAME: request.get_full_path()})}"
    context = {"may_look": permissions.may(request.user, permissions.VIEW), "login_url": back}
    return render(request, "django_workflow/403.html", context, status=403)


@page
def no_run(request: HttpRequest, text: str) -> HttpResponse:
    """Say that a text is no id of a run."""
    raise Http404(f"{text!r} is no id of a run.")


def login_url() -> str:
    """Return where the site logs people in; the admin's page where it did not say."""
    from django.conf import global_settings, settings  # noqa: PLC0415

    if settings.LOGIN_URL == global_settings.LOGIN_URL:
        try:
            return reverse("admin:login")
        except NoReverseMatch:
            pass
    return resolve_url(settings.LOGIN_URL)


def require(request: HttpRequest, permission: str, run: Run | None = None) -> None:
    """Raise `PermissionDenied` unless the user has a permission, for a run's flow where one is given."""
    if not permissions.may(request.user, permission, run.flow if run is not None else None):
        raise PermissionDenied


def run_or_404(request: HttpRequest, run_id: UUID) -> Run:
    """Return a run with its flow and version; one that the user may not see does not exist for them."""
    run = find.run(run_id)
    if run is None or not permissions.may(request.user, permissions.VIEW, run.flow):
        raise Http404(f"There is no run {run_id}.")
    return run
