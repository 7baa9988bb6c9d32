"""Pages that act: each first says what it will touch, and does it when that is confirmed.

A GET changes nothing. A POST without `confirm` only shows the page again, with what it would do as the form
stands; so a selection of runs, or an edited input, need not be part of an address.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from django_workflow import permissions
from django_workflow.engine.retrying.request import ALL_STEPS
from django_workflow.models import FlowDefinition, Run
from django_workflow.read import find
from django_workflow.statuses import RUN_TERMINAL
from django_workflow.web.access import page, require, run_or_404
from django_workflow.web.acting import forms, perform, previews, verbs
from django_workflow.web.acting.next_url import next_url
from django_workflow.web.acting.perform import Outcome
from django_workflow.web.acting.previews import Preview
from django_workflow.web.acting.verbs import Button, Verb, buttons, flow_buttons, queue_buttons, step_buttons

__all__ = [
    "Button",
    "act_on_flow",
    "act_on_letters",
    "act_on_queue",
    "act_on_run",
    "act_on_runs",
    "buttons",
    "flow_buttons",
    "queue_buttons",
    "step_buttons",
]

#: Most runs or dead letters that one confirmation is about.
MAX_SELECTED = 1_000

only_form_methods = require_http_methods(["GET", "HEAD", "POST"])


@dataclass(slots=True)
class Question:
    """What the page asks: about what, with which form, and what it would touch."""

    verb: Verb
    title: str
    subject: str
    form: forms.ReasonForm
    preview: Preview
    back: str
    #: As texts: a page writes them as they are, all in one field, for a form may have a thousand only.
    ids: Sequence[str] = ()
    sentence: str = ""
    subject_url: str = ""
    #: What the verb is done to, in the words of its button: "the run", "3 runs".
    noun: str = "the run"
    #: What the button says in place of verb and noun: how a run is retried.
    says: str = ""

    @property
    def confirmation(self) -> str:
        """What the button says: a "Cancel" alone might mean to leave the page."""
        if self.says:
            return self.says
        if self.verb.name == verbs.COMPLETE_STEP:
            return f"Mark {self.noun} done"
        return f"{self.verb.label} {self.noun}"


def is_confirmed(request: HttpRequest) -> bool:
    """Say whether somebody has seen what will happen, and wants it."""
    return request.method == "POST" and "confirm" in request.POST


def ask(request: HttpRequest, question: Question) -> HttpResponse:
    """Show what will be touched, and a form to confirm it."""
    asked_at = request.POST.get("asked_at") or perform.page_time()
    context = {"question": question, "asked_at": asked_at, "next": question.back}
    return render(request, "django_workflow/action.html", context)


def answer(request: HttpRequest, outcome: Outcome, fallback: str) -> HttpResponse:
    """Tell what was done and go back to where the user came from."""
    perform.tell(request, outcome)
    return HttpResponseRedirect(next_url(request, outcome.url or fallback))


def known(table: dict[str, Verb], name: str) -> Verb:
    """Return an action by its name; raises `Http404`."""
    if name not in table:
        raise Http404(f"There is no action {name!r}.")
    return table[name]


@page
@only_form_methods
def act_on_run(request: HttpRequest, run_id: UUID, name: str) -> HttpResponse:
    """Pause, resume, cancel or retry a run, or end one of its steps.

    In the address: `step` and `activation` of skip_step and complete_step; `mode`, `from_step` and `version` of retry;
    `next`.
    """
    verb = known(verbs.RUN_VERBS, name)
    run = run_or_404(request, run_id)
    require(request, verb.permission, run)
    url = run_url(run)
    form = _run_form(request, verb, run)
    is_valid = form.is_valid() if form.is_bound else False
    if is_confirmed(request) and is_valid:
        outcome = perform.on_run(request, verb, run, form)
        if not outcome.is_refusal or (run.status in RUN_TERMINAL and verb.name != verbs.RETRY):
            return answer(request, outcome, url)
        perform.tell(request, outcome)  # and ask again: what was typed is not lost
    step = form.cleaned("step") or request.GET.get("step", "")
    asked = form.request("", "") if isinstance(form, forms.RetryForm) else None
    activation = form.step_run_id if isinstance(form, forms.StepForm) else None
    shows_payload = permissions.may(request.user, permissions.VIEW_PAYLOAD, run.flow)
    preview = previews.of_run(verb, run, step=step, activation=activation, request=asked, shows_payload=shows_payload)
    subject = f"step {step} of {run}" if step else str(run)
    says = _retry_in_words(form)
    question = Question(verb, f"{says or verb.label}: {subject}", subject, form, preview, next_url(request, ""))
    question.says = says
    question.subject_url = url
    question.noun = "the step" if verb.name in (verbs.SKIP_STEP, verbs.COMPLETE_STEP) else "the run"
    return ask(request, question)


def _retry_in_words(form: forms.ReasonForm) -> str:
    """Say what a retry will run, as its button says it; "" for another action."""
    if not isinstance(form, forms.RetryForm):
        return ""
    request = form.request("", "")
    if request.from_step:
        return _("Run again from %(step)s") % {"step": request.from_step}
    return _("Run all again") if request.mode == ALL_STEPS else _("Retry failed")


def _run_form(request: HttpRequest, verb: Verb, run: Run) -> forms.ReasonForm:
    """Return the form of an action: bound to what was posted, else to what the address says."""
    data: Any = request.POST if request.method == "POST" else None
    initial = {name: request.GET[name] for name in ("step", "activation", "reason") if name in request.GET}
    if verb.name == verbs.RETRY:
        shows_input = permissions.may(request.user, permissions.VIEW_PAYLOAD, run.flow)
        if data is None:
            # an address may say how; a form that is bound to it tells what is wrong with that
            data = {name: request.GET.get(name, "") for name in ("mode", "from_step", "version")}
            data["input"] = forms.kept_input(run, shows_input=shows_input)
        return forms.RetryForm(data, run=run, shows_input=shows_input)
    kinds: dict[str, type[forms.ReasonForm]] = {
        verbs.SKIP_STEP: forms.StepForm,
        verbs.COMPLETE_STEP: forms.CompleteForm,
    }
    return kinds.get(verb.name, forms.ReasonForm)(data, initial=initial)


@page
@only_form_methods
def act_on_runs(request: HttpRequest, name: str) -> HttpResponse:
    """Pause, resume, cancel or retry chosen runs: `ids` in the form or the address, together or one each."""
    verb = known(verbs.BULK_VERBS, name)
    require(request, verb.permission)
    ids = chosen(request, UUID)
    selection = previews.select(request.user, verb, ids)
    fallback = _reverse("run_list")
    form = forms.ReasonForm(request.POST if is_confirmed(request) else None)
    if is_confirmed(request) and form.is_valid():
        if not selection.fit and selection.forbidden == selection.count:
            raise PermissionDenied
        return answer(request, perform.on_runs(request, verb, selection, form), fallback)
    subject = counted(selection.count, "run")
    question = Question(
        verb, f"{verb.label}: {subject}", subject, form, previews.of_selection(verb, selection),
        next_url(request, fallback), ids=[str(item) for item in ids], sentence=selection.sentence(verb),
        noun=counted(len(selection.fit), "run"),
    )  # fmt: skip
    return ask(request, question)


@page
@only_form_methods
def act_on_flow(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    """Pause or resume a flow with all its runs."""
    verb = known(verbs.FLOW_VERBS, name)
    flow = flow_or_404(request, slug)
    if not permissions.may(request.user, verb.permission, flow):
        raise PermissionDenied
    fallback = _reverse("board")
    form = forms.ReasonForm(request.POST if request.method == "POST" else None)
    if is_confirmed(request) and form.is_valid():
        return answer(request, perform.on_flow(request, verb, flow, form), fallback)
    subject = f"flow {flow.slug}"
    question = Question(verb, f"{verb.label}: {subject}", subject, form, previews.of_flow(verb, flow), fallback)
    question.back = next_url(request, fallback)
    question.noun = "the flow"
    return ask(request, question)


@page
@only_form_methods
def act_on_queue(request: HttpRequest, queue: str, name: str) -> HttpResponse:
    """Pause or resume a queue."""
    verb = known(verbs.QUEUE_VERBS, name)
    require(request, verb.permission)
    row = find.queue(queue)
    if row is None:
        raise Http404(f"There is no queue {queue!r}.")
    fallback = _reverse("queues")
    form = forms.ReasonForm(request.POST if request.method == "POST" else None)
    if is_confirmed(request) and form.is_valid():
        return answer(request, perform.on_queue(request, verb, row, form), fallback)
    subject = f"queue {row.name}"
    question = Question(
        verb, f"{verb.label}: {subject}", subject, form, previews.of_queue(verb, row), next_url(request, fallback),
        noun="the queue",
    )  # fmt: skip
    return ask(request, question)


@page
@only_form_methods
def act_on_letters(request: HttpRequest, name: str) -> HttpResponse:
    """Retry the runs of dead letters, or dismiss the letters: `ids` of their tasks."""
    verb = known(verbs.LETTER_VERBS, name)
    require(request, verb.permission)
    ids = chosen(request, int)
    letters = previews.select_letters(request.user, verb, ids)
    kind = forms.NeededReasonForm if verb.name == verbs.DISMISS else forms.ReasonForm
    form = kind(request.POST if is_confirmed(request) else None)
    fallback = _reverse("board")
    if is_confirmed(request) and form.is_valid():
        return answer(request, perform.on_letters(request, verb, letters, form), fallback)
    subject = counted(letters.count, "dead letter")
    question = Question(
        verb, f"{verb.label}: {subject}", subject, form, previews.of_letters(verb, letters),
        next_url(request, fallback), ids=[str(item) for item in ids], sentence=letters.sentence(verb),
        noun=counted(len(letters.fit), "dead letter"),
    )  # fmt: skip
    return ask(request, question)


def counted(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


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


def _reverse(name: str) -> str:
    return reverse(f"django_workflow:{name}")
