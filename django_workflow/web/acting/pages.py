"""Pages that act: each first says what it will touch, and does it when that is confirmed.

A GET changes nothing. A POST without `confirm` only shows the page again, with what it would do as the form
stands; so a selection of runs, or an edited input, need not be part of an address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods

from django_workflow import permissions
from django_workflow.models import FlowDefinition, Run
from django_workflow.operations import DEAD_LETTERS, FLOWS, QUEUES, RUNS, STEPS
from django_workflow.operations.operation import Operation, Words
from django_workflow.operations.several import Several, SeveralRuns
from django_workflow.operations.steps import StepOfRun
from django_workflow.read import find
from django_workflow.web.access import page, require, run_or_404
from django_workflow.web.acting import perform
from django_workflow.web.acting.forms import FORMS, ReasonForm
from django_workflow.web.acting.next_url import next_url
from django_workflow.web.acting.perform import Outcome
from django_workflow.web.address import number

#: Most runs or dead letters that one confirmation is about.
MAX_SELECTED = 1_000

only_form_methods = require_http_methods(["GET", "HEAD", "POST"])
Known = TypeVar("Known")


@dataclass(slots=True)
class Question:
    """What a page asks: whether an operation is to be done to a target, and with which words."""

    request: HttpRequest
    operation: Operation[Any, Any]
    target: Any
    back: str
    #: Of several, as texts: a page writes them as they are, all in one field, for a form may have a thousand only.
    ids: Sequence[str] = ()
    #: What tells in the form which step is meant.
    hidden: Mapping[str, str] = field(default_factory=dict)
    subject_url: str = ""
    form: ReasonForm = field(init=False)
    words: Words = field(init=False)

    def __post_init__(self) -> None:
        request, kind = self.request, FORMS[self.operation.words]
        # rows that are chosen in a list come with no words
        is_bound = request.method == "POST" and (is_confirmed(request) or not self.ids)
        self.form = kind(
            request.POST if is_bound else None,
            operation=self.operation,
            target=self.target,
            sees_payload=permissions.may(request.user, permissions.VIEW_PAYLOAD, self.operation.flow_of(self.target)),
            initial={name: request.GET[name] for name in kind.in_address if name in request.GET},
        )
        self.form.full_clean()
        self.words = self.form.words(_moment(request.POST.get("asked_at", "")))

    @property
    def is_answered(self) -> bool:
        """Whether somebody has seen what will happen, wants it, and says what is needed."""
        return is_confirmed(self.request) and self.form.is_valid()

    def perform(self) -> Outcome:
        """Do it."""
        return perform.perform(self.request, self.operation, self.target, self.words)

    def context(self) -> dict[str, Any]:
        """Return what a template shows: the words of the question, and what it will touch."""
        operation, target, words = self.operation, self.target, self.words
        preview, subject = operation.preview(target, words), operation.subject(target)
        return {
            "question": self,
            "title": f"{operation.called(words)}: {subject}",
            "subject": subject,
            "sentence": operation.sentence(target),
            "preview": preview,
            "problem": perform.worded(preview.refusal) if preview.refusal else "",
            "confirmation": operation.confirmation(target, words),
            "asked_at": self.request.POST.get("asked_at") or perform.page_time(),
        }


def is_confirmed(request: HttpRequest) -> bool:
    """Say whether somebody has seen what will happen, and wants it."""
    return request.method == "POST" and "confirm" in request.POST


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def act(question: Question, fallback: str) -> HttpResponse:
    """Do what was confirmed and go back to where the user came from; else show what will be touched, and a form."""
    request, operation = question.request, question.operation
    if question.is_answered:
        outcome = question.perform()
        perform.tell(request, outcome)
        # what is refused and still makes sense is asked again: what was typed is not lost
        if not (outcome.is_refusal and operation.fits(question.target)):
            return HttpResponseRedirect(next_url(request, outcome.url or fallback))
    return render(request, "django_workflow/action.html", question.context())


def known(table: Mapping[str, Known], name: str) -> Known:
    """Return an operation by its name; raises `Http404`."""
    if name not in table:
        raise Http404(f"There is no action {name!r}.")
    return table[name]


@page
@only_form_methods
def act_on_run(request: HttpRequest, run_id: UUID, name: str) -> HttpResponse:
    """Do something with a run, or with one of its steps.

    In the form or the address: `step` and `activation` of what is done to a step; `mode`, `from_step` and `version` of
    a retry; `next`.
    """
    operation: Operation[Any, Any] = known({**RUNS, **STEPS}, name)
    run = run_or_404(request, run_id)
    require(request, operation.permission, run)
    target: Any = run
    hidden: dict[str, str] = {}
    if name in STEPS:
        given = {key: request.POST.get(key) or request.GET.get(key, "") for key in ("step", "activation")}
        hidden = {key: text for key, text in given.items() if text}
        # 0 is the id of none
        target = StepOfRun(run, given["step"], number(given["activation"]) or 0 if given["activation"] else None)
    url = run_url(run)
    return act(Question(request, operation, target, next_url(request, ""), hidden=hidden, subject_url=url), url)


@page
@only_form_methods
def act_on_runs(request: HttpRequest, name: str) -> HttpResponse:
    """Do something with chosen runs: `ids` in the form or the address, together or one each."""
    return _act_on_several(request, SeveralRuns(known(RUNS, name)), UUID, "run_list")


@page
@only_form_methods
def act_on_letters(request: HttpRequest, name: str) -> HttpResponse:
    """Do something with dead letters: `ids` of their tasks."""
    return _act_on_several(request, known(DEAD_LETTERS, name), int, "board")


def _act_on_several(
    request: HttpRequest, operation: Several[Any], kind: Callable[[str], Any], fallback: str
) -> HttpResponse:
    require(request, operation.permission)
    ids = chosen(request, kind)
    selection = operation.select(request.user, ids)
    if is_confirmed(request) and selection.is_forbidden:
        raise PermissionDenied
    url = reverse(f"django_workflow:{fallback}")
    return act(Question(request, operation, selection, next_url(request, url), ids=[str(item) for item in ids]), url)


@page
@only_form_methods
def act_on_flow(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    """Do something with a flow and all its runs."""
    operation, flow = known(FLOWS, name), flow_or_404(request, slug)
    if not operation.is_allowed(request.user, flow):
        raise PermissionDenied
    url = reverse("django_workflow:board")
    return act(Question(request, operation, flow, next_url(request, url)), url)


@page
@only_form_methods
def act_on_queue(request: HttpRequest, queue: str, name: str) -> HttpResponse:
    """Do something with a queue."""
    operation = known(QUEUES, name)
    require(request, operation.permission)
    row = find.queue(queue)
    if row is None:
        raise Http404(f"There is no queue {queue!r}.")
    url = reverse("django_workflow:queues")
    return act(Question(request, operation, row, next_url(request, url)), url)


def chosen(request: HttpRequest, kind: Callable[[str], Any]) -> list[Any]:
    """Return the ids that were chosen, each once; raises `Http404` for what is no id, or for too many."""
    given = request.POST.getlist("ids") or request.GET.getlist("ids")
    try:
        ids = list(dict.fromkeys(kind(text) for item in given for text in item.replace(",", " ").split()))
    except ValueError as error:
        raise Http404("These are no ids.") from error
    if len(ids) > MAX_SELECTED:
        raise Http404(f"At most {MAX_SELECTED:,} can be chosen at once.")
    return ids


def flow_or_404(request: HttpRequest, slug: str) -> FlowDefinition:
    """Return a flow; one that the user may not see does not exist for them."""
    flow = find.flow(slug)
    if flow is None or not permissions.may(request.user, permissions.VIEW, flow):
        raise Http404(f"There is no flow {slug!r}.")
    return flow


def run_url(run: Run | UUID) -> str:
    """Return the address of a run's page."""
    return reverse("django_workflow:run", args=[run.pk if isinstance(run, Run) else run])
