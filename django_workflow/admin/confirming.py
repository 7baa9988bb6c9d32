"""Admin actions ask before they act, with the same numbers as the live pages."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from django_workflow.web.acting import forms, perform, previews, verbs
from django_workflow.web.acting.pages import MAX_SELECTED, Question, counted, is_confirmed
from django_workflow.web.acting.verbs import Verb

#: The field of a confirmation that has all keys; one field each would be more than a form may have.
CHOSEN = "chosen"


def spread(request: HttpRequest) -> None:
    """Give what a confirmation says in one field to Django's actions, which take a field for each key."""
    if request.method == "POST" and CHOSEN in request.POST:
        data = request.POST.copy()
        data.setlist(ACTION_CHECKBOX_NAME, [key for key in data.pop(CHOSEN)[-1].split(",") if key])
        request.POST = data  # type: ignore[assignment]


def confirm_runs(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> HttpResponse | None:
    """Ask about chosen runs, or do what was asked; None leads back to the list."""
    ids = _ids(request, queryset)
    if ids is None:
        return None
    selection = previews.select(request.user, verb, ids)
    form = forms.ReasonForm(request.POST if is_confirmed(request) else None)
    if is_confirmed(request) and form.is_valid():
        perform.tell(request, perform.on_runs(request, verb, selection, form))
        return None
    subject = counted(selection.count, "run")
    question = Question(
        verb, f"{verb.label}: {subject}", subject, form, previews.of_selection(verb, selection),
        back=request.get_full_path(), ids=[str(item) for item in ids], sentence=selection.sentence(verb),
        noun=counted(len(selection.fit), "run"),
    )  # fmt: skip
    return _ask(model_admin, request, question)


def confirm_letters(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any], verb: Verb) -> HttpResponse | None:
    """Ask about chosen dead letters, or do what was asked; None leads back to the list."""
    ids = _ids(request, queryset)
    if ids is None:
        return None
    letters = previews.select_letters(request.user, verb, ids)
    kind = forms.NeededReasonForm if verb.name == verbs.DISMISS else forms.ReasonForm
    form = kind(request.POST if is_confirmed(request) else None)
    if is_confirmed(request) and form.is_valid():
        perform.tell(request, perform.on_letters(request, verb, letters, form))
        return None
    subject = counted(letters.count, "dead letter")
    question = Question(
        verb, f"{verb.label}: {subject}", subject, form, previews.of_letters(verb, letters),
        back=request.get_full_path(), ids=[str(item) for item in ids], sentence=letters.sentence(verb),
        noun=counted(len(letters.fit), "dead letter"),
    )  # fmt: skip
    return _ask(model_admin, request, question)


def _ids(request: HttpRequest, queryset: QuerySet[Any]) -> list[Any] | None:
    """Return the keys of what was chosen; None, and a message, where that is too much at once."""
    ids = list(queryset.order_by().values_list("pk", flat=True)[: MAX_SELECTED + 1])
    if len(ids) > MAX_SELECTED:
        told = f"At most {MAX_SELECTED:,} can be chosen at once. Narrow the list with its filters."
        messages.add_message(request, messages.WARNING, told)
        return None
    return ids


def _ask(model_admin: Any, request: HttpRequest, question: Question) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": question.title,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "question": question,
        "action": request.POST.get("action", ""),
        "chosen": CHOSEN,
        "asked_at": request.POST.get("asked_at") or perform.page_time(),
    }
    return TemplateResponse(request, "admin/django_workflow/confirm.html", context)
