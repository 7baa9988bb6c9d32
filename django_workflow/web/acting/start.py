"""The page that starts a run of a flow with an input."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from django_workflow import permissions, startables
from django_workflow.definition.schemas import schema
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import DefinitionError, PayloadError, UnknownFlow, WorkflowError
from django_workflow.ids import uuid7
from django_workflow.models import FlowDefinition
from django_workflow.operations import START
from django_workflow.operations.start import StartWords
from django_workflow.payload import readable
from django_workflow.read import find
from django_workflow.startable import Startable
from django_workflow.web.access import page
from django_workflow.web.acting import forms, perform
from django_workflow.web.acting.next_url import next_url
from django_workflow.web.acting.pages import flow_or_404, only_form_methods, run_url


@page
@only_form_methods
def start(request: HttpRequest, slug: str) -> HttpResponse:
    """Start a run of a flow."""
    flow = flow_or_404(request, slug)
    if not permissions.may(request.user, START.permission, flow):
        raise PermissionDenied
    startable = _startable(slug)
    spec, problem = _current(startable)
    is_post = request.method == "POST"
    form = forms.StartForm(request.POST if is_post else None, initial=_initial(spec))
    if is_post and not problem and form.is_valid():
        answer = _start(request, flow, startable, form)
        if answer is not None:
            return answer
    context = {"flow": flow, "form": form, "problem": problem, "spec": spec, "next": next_url(request, "")}
    return render(request, "django_workflow/start.html", context)


def _initial(spec: FlowSpec | None) -> dict[str, Any]:
    """Return what the form begins with: the id of the run, and a sample where the flow says what it takes."""
    initial: dict[str, Any] = {"run_id": uuid7()}
    if spec is not None and spec.input_schema is not None:
        initial["input"] = readable(schema.sample(spec.input_schema))
    return initial


def _startable(slug: str) -> Startable:
    """Return what starts by this name; raises `Http404`."""
    try:
        return startables.find(slug)
    except UnknownFlow as error:
        raise Http404(f"Flow {slug!r} is not declared any more; its runs are history.") from error


def _current(startable: Startable) -> tuple[FlowSpec | None, str]:
    """Return the definition that a start uses now, or why there is none."""
    try:
        return startable.current_spec(), ""
    except DefinitionError as error:
        return None, str(error)


def _start(
    request: HttpRequest, flow: FlowDefinition, startable: Startable, form: forms.StartForm
) -> HttpResponse | None:
    """Start the run, or add to the form why not."""
    # the page chose the id, so what is sent a second time finds the first one's run
    words = StartWords(**form.cleaned_data)
    before = find.run(words.run_id) if words.run_id else None
    if before is not None and before.flow_id != flow.pk:
        form.add_error(None, "This form was used for another flow. Open it again.")
        return None
    try:
        done = START.perform(startable, words, request.user.get_username())
    except PayloadError as error:
        form.add_error("input", [f"It does not fit the schema {item}" for item in error.violations] or error.message)
        return None
    except WorkflowError as error:
        form.add_error(None, error.message)
        return None
    assert done.run_id is not None
    perform.tell(request, perform.outcome_of(request, done, ""))
    return HttpResponseRedirect(next_url(request, run_url(done.run_id)))
