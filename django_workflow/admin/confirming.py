"""Admin actions ask before they act, with the same numbers as the live pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from django_workflow.operations.several import Several
from django_workflow.web.acting import perform
from django_workflow.web.acting.pages import MAX_SELECTED, Question

#: The field of a confirmation that has all keys; one field each would be more than a form may have.
CHOSEN = "chosen"
Action = Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]


def spread(request: HttpRequest) -> None:
    """Give what a confirmation says in one field to Django's actions, which take a field for each key."""
    if request.method == "POST" and CHOSEN in request.POST:
        data = request.POST.copy()
        data.setlist(ACTION_CHECKBOX_NAME, [key for key in data.pop(CHOSEN)[-1].split(",") if key])
        request.POST = data  # type: ignore[assignment]


def action(operation: Several[Any], rows: str) -> Action:
    """Return the admin action that does something with the rows that are chosen, after a page that asks."""

    @admin.action(description=operation.menu)
    def act(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return confirm(model_admin, request, queryset, operation)

    act.__name__ = f"{operation.name}_{rows}"
    act.operation = operation  # type: ignore[attr-defined]
    return act


def is_allowed(user: Any, act: Any) -> bool:
    """Say whether a user may do an action at all; those of others ask by themselves."""
    operation = getattr(act, "operation", None)
    return operation is None or operation.is_allowed(user)


def confirm(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[Any], operation: Several[Any]
) -> HttpResponse | None:
    """Ask about chosen rows, or do what was asked; None leads back to the list."""
    ids = list(queryset.order_by().values_list("pk", flat=True)[: MAX_SELECTED + 1])
    if len(ids) > MAX_SELECTED:
        told = f"At most {MAX_SELECTED:,} can be chosen at once. Narrow the list with its filters."
        messages.add_message(request, messages.WARNING, told)
        return None
    selection = operation.select(request.user, ids)
    question = Question(request, operation, selection, request.get_full_path(), ids=[str(item) for item in ids])
    if question.is_answered:
        perform.tell(request, question.perform())
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        **question.context(),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "action": request.POST.get("action", ""),
        "chosen": CHOSEN,
    }
    return TemplateResponse(request, "admin/django_workflow/confirm.html", context)
