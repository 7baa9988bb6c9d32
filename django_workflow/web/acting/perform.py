"""Doing what was confirmed: the verb, a record of who and why, and what to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import messages
from django.db import DatabaseError, models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html

from django_workflow import db, permissions, runs, times
from django_workflow.conf import conf
from django_workflow.engine.retrying.request import KEPT, RetryRequest
from django_workflow.engine.retrying.retry import retry
from django_workflow.engine.stored.locking import lock_patiently
from django_workflow.engine.verbs.pause import pause_flow, pause_queue, resume_flow, resume_queue
from django_workflow.engine.verbs.steps import complete_step
from django_workflow.exceptions import PayloadError, RunBusy, WorkflowError
from django_workflow.models import FlowDefinition, Queue, Run, Task
from django_workflow.read import clock
from django_workflow.read.versions import check_readable
from django_workflow.templatetags.django_workflow import words as in_words
from django_workflow.web.acting import forms, verbs
from django_workflow.web.acting.previews import MISFIT, REMEDIES, Letters, Selection
from django_workflow.web.acting.verbs import Verb

CUT_SHORT = "The database could not finish this now. Try again."
BUSY = "It is being written by somebody else just now. Nothing was changed; try again."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action.

    text: for the user. url: where it leads them, if not back.
    """

    level: int
    text: str
    url: str = ""

    @property
    def is_refusal(self) -> bool:
        """Whether nothing was done."""
        return self.level == messages.WARNING


def page_time() -> str:
    """Return the time at which a page is made, for the form that comes back with it."""
    return times.with_zone(clock.now()).isoformat()


def tell(request: HttpRequest, outcome: Outcome) -> None:
    """Tell the user on the next page, where the site has messages."""
    messages.add_message(request, outcome.level, outcome.text, fail_silently=True)


def record(request: HttpRequest, objects: Iterable[models.Model], text: str, reason: str) -> None:
    """Write who did what and why into the history that the admin shows, where the site has one."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import CHANGE, LogEntry  # noqa: PLC0415  not without its app
    from django.contrib.contenttypes.models import ContentType  # noqa: PLC0415

    told = f"{text}: {reason}" if reason else f"{text}."
    LogEntry.objects.bulk_create(
        LogEntry(
            user_id=request.user.pk or 0, content_type_id=ContentType.objects.get_for_model(item).pk,
            action_flag=CHANGE,
            object_id=str(item.pk), object_repr=str(item)[:200], change_message=told,
        )
        for item in objects
    )  # fmt: skip


def on_run(request: HttpRequest, verb: Verb, run: Run, form: forms.ReasonForm) -> Outcome:
    """Do something with one run, or one step of it."""
    if run.status in verb.done:
        return Outcome(messages.INFO, f"{_name(run)} is already {in_words(run.status)}.")
    words = _words(request, form)
    if verb.name == verbs.RETRY:
        assert isinstance(form, forms.RetryForm)
        asked = form.request(words["reason"], words["by"])
        is_hidden = asked.input is KEPT and not permissions.may(request.user, permissions.VIEW_PAYLOAD, run.flow)
        return _on_refusal(lambda: _retry(request, run, asked), hides_input=is_hidden)
    step = form.cleaned("step")

    activation = form.step_run_id if isinstance(form, forms.StepForm) else None

    def act() -> Outcome:
        if step:
            check_readable(run)
        match verb.name:
            case verbs.SKIP_STEP:
                runs.skip_step(run, step, step_run_id=activation, **words)
            case verbs.COMPLETE_STEP:
                may_repeat = permissions.may(request.user, permissions.VIEW_PAYLOAD, run.flow)
                value = form.cleaned("value", None)
                complete_step(run.pk, step, value, step_run_id=activation, may_repeat=may_repeat, **words)
            case _:
                _ACTS[verb.name](run, **words)
        what = f"Step {step} of {_name(run)}" if step else _name(run)
        record(request, [run], f"{verb.past.capitalize()}{f' step {step}' if step else ''}", words["reason"])
        return Outcome(messages.SUCCESS, f"{what} was {verb.past}.")

    return _on_refusal(act)


_ACTS: dict[str, Callable[..., Any]] = {verbs.PAUSE: runs.pause, verbs.RESUME: runs.resume, verbs.CANCEL: runs.cancel}


def _retry(request: HttpRequest, run: Run, asked: RetryRequest) -> Outcome:
    new_id, is_new = retry_once(run, asked, request.POST.get("asked_at", ""))
    url = reverse("django_workflow:run", args=[new_id])
    if not is_new:
        return Outcome(
            messages.INFO, format_html('{} has already been retried, by <a href="{}">this run</a>.', _name(run), url)
        )
    record(request, [run], f"Retried as run {new_id}", asked.reason)
    return Outcome(messages.SUCCESS, format_html('{} is retried by <a href="{}">a new run</a>.', _name(run), url), url)


def retry_once(run: Run, asked: RetryRequest, asked_at: str) -> tuple[UUID, bool]:
    """Retry a run, unless it was since the user was asked; return the retry and whether it is new.

    asked_at: when the page was made that is confirmed here; sent a second time it finds the first one's retry.
    """
    check_readable(run)
    since = _moment(asked_at)
    with db.atomic():
        # whoever confirms at the same time waits here, and finds this one's retry below
        lock_patiently([run.pk])
        retries = Run.objects.using(conf.DATABASE).filter(retry_of=run).order_by("-id")
        known = retries.unsettled() if since is None else retries.filter(
            models.Q(created_at__gte=since) | models.Q(ended_at__isnull=True)
        )  # fmt: skip
        found: UUID | None = known.values_list("pk", flat=True).first()
        if found is not None:
            return found, False
        return retry(run.pk, asked), True


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def on_runs(request: HttpRequest, verb: Verb, selection: Selection, form: forms.ReasonForm) -> Outcome:
    """Do something with chosen runs, each by itself: one that cannot be changed stops no other."""
    words = _words(request, form)
    done: list[Run] = []
    refused: list[str] = []
    for run in selection.fit:
        outcome = _on_refusal(lambda run=run: _on_one(request, verb, run, words))  # type: ignore[misc]
        if outcome.level == messages.SUCCESS:
            done.append(run)
        else:
            refused.append(outcome.text)
    record(request, done, verb.past.capitalize(), words["reason"])
    text = f"{len(done)} of {selection.count} were {verb.past}."
    others = selection.count - len(selection.fit)
    if others:
        text += f" {others} could not be, as they stood."
    if refused:
        text += f" {refused[0]}" + (f" And {len(refused) - 1} more." if len(refused) > 1 else "")
    return Outcome(messages.SUCCESS if len(done) == selection.count else messages.WARNING, text)


def _on_one(request: HttpRequest, verb: Verb, run: Run, words: dict[str, str]) -> Outcome:
    if verb.name == verbs.RETRY:
        asked = RetryRequest(reason=words["reason"], by=words["by"])
        _, is_new = retry_once(run, asked, request.POST.get("asked_at", ""))
        if not is_new:
            return Outcome(messages.INFO, f"{_name(run)} has already been retried.")
    else:
        _ACTS[verb.name](run, **words)
    return Outcome(messages.SUCCESS, "")


def on_flow(request: HttpRequest, verb: Verb, flow: FlowDefinition, form: forms.ReasonForm) -> Outcome:
    """Pause or resume a flow."""
    if (flow.paused_at is None) == (verb.name == verbs.RESUME):
        return Outcome(messages.INFO, f"Flow {flow.slug} is {_stands(flow.paused_at)}.")
    act = pause_flow if verb.name == verbs.PAUSE else resume_flow
    words = _words(request, form)
    return _on_row(request, verb, flow, lambda: act(flow.slug, **words), form)


def on_queue(request: HttpRequest, verb: Verb, queue: Queue, form: forms.ReasonForm) -> Outcome:
    """Pause or resume a queue."""
    if (queue.paused_at is None) == (verb.name == verbs.RESUME):
        return Outcome(messages.INFO, f"Queue {queue.name} is {_stands(queue.paused_at)}.")
    act = pause_queue if verb.name == verbs.PAUSE else resume_queue
    words = _words(request, form)
    return _on_row(request, verb, queue, lambda: act(queue.name, **words), form)


def _stands(paused_at: datetime | None) -> str:
    return "already paused" if paused_at else "not paused"


def _on_row(
    request: HttpRequest, verb: Verb, row: models.Model, act: Callable[[], None], form: forms.ReasonForm
) -> Outcome:
    def acted() -> Outcome:
        act()
        record(request, [row], verb.past.capitalize(), form.cleaned("reason"))
        return Outcome(messages.SUCCESS, f"{_kind(row)} was {verb.past}.")

    return _on_refusal(acted)


def _kind(row: models.Model) -> str:
    return f"Queue {row.name}" if isinstance(row, Queue) else f"Flow {row}"


def on_letters(request: HttpRequest, verb: Verb, letters: Letters, form: forms.ReasonForm) -> Outcome:
    """Retry the runs of dead letters, or dismiss the letters."""
    words = _words(request, form)
    tasks = [task.pk for task in letters.fit]
    if not tasks:
        return Outcome(messages.WARNING, letters.sentence(verb))

    def act() -> Outcome:
        if verb.name == verbs.DISMISS:
            count = runs.dismiss_dead_letters(tasks, words["reason"], words["by"])
            text = f"{count} dead letters were dismissed." if count != 1 else "1 dead letter was dismissed."
        else:
            for run in {task.run.version_id: task.run for task in letters.fit}.values():
                check_readable(run)
            made = runs.retry_dead_letters(tasks, words["by"], words["reason"])
            text = f"{len(made)} runs were retried." if len(made) != 1 else "1 run was retried."
        _record_letters(request, verb, letters.fit, words["reason"])
        return Outcome(messages.SUCCESS, text)

    return _on_refusal(act)


def _record_letters(request: HttpRequest, verb: Verb, tasks: Sequence[Task], reason: str) -> None:
    if verb.name == verbs.RETRY:
        record(request, {task.run_id: task.run for task in tasks}.values(), "Retried, for its dead letters", reason)
    else:
        record(request, tasks, "Dismissed", reason)


def _words(request: HttpRequest, form: forms.ReasonForm) -> dict[str, str]:
    return {"reason": form.cleaned("reason").strip(), "by": request.user.get_username()}


def _name(run: Run) -> str:
    return f"Run {run}"


def _on_refusal(act: Callable[[], Outcome], *, hides_input: bool = False) -> Outcome:
    """Do something; what is refused becomes a sentence, without parts of an input that the user may not see."""
    try:
        return act()
    except PayloadError as error:
        return Outcome(messages.WARNING, MISFIT if hides_input else error.message)
    except RunBusy:
        return Outcome(messages.WARNING, BUSY)
    except WorkflowError as error:
        return Outcome(messages.WARNING, error.worded(REMEDIES))
    except DatabaseError as error:
        if db.is_of_connection(error) or not db.is_retryable(error):
            raise
        return Outcome(messages.WARNING, BUSY if db.is_lock_timeout(error) else CUT_SHORT)
