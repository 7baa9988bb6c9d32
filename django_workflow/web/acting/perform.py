"""Doing what was confirmed: the operation, a record of who and why, and what to tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import messages
from django.db import DatabaseError, models
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from django_workflow import db, times
from django_workflow.exceptions import Remedy, RunBusy, WorkflowError
from django_workflow.operations.operation import Done, Operation, Words, passes
from django_workflow.read import clock

CUT_SHORT = "The database could not finish this now. Try again."
BUSY = "It is being written by somebody else just now. Nothing was changed; try again."
#: What can be done instead of a retry that is refused, by what the page offers.
REMEDIES: Mapping[Remedy, str] = {
    "all": "Choose to run all steps again.",
    "from_step": "Choose a step to run again from, or all steps.",
    "earlier_step": "Choose a step before these to run again from, or all steps.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action, for the user."""

    level: int
    text: str
    #: Where it leads them, if not back.
    url: str = ""
    #: Whether nothing was done.
    is_refusal: bool = False


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


def perform(request: HttpRequest, operation: Operation[Any, Any], target: Any, words: Words) -> Outcome:
    """Do something in the user's name; what is refused becomes a sentence."""
    try:
        done = operation.perform(target, words, request.user.get_username())
    except WorkflowError as error:
        return Outcome(messages.WARNING, worded(error), is_refusal=True)
    except DatabaseError as error:
        if not passes(error):
            raise
        return Outcome(messages.WARNING, worded(error), is_refusal=True)
    return outcome_of(request, done, words.reason)


def outcome_of(request: HttpRequest, done: Done, reason: str) -> Outcome:
    """Record what was done, and return what to tell."""
    record(request, done.changed, done.record, reason)
    level = messages.WARNING if done.is_partial else messages.SUCCESS if done.changed else messages.INFO
    if done.linked is not None:
        url = reverse("django_workflow:run", args=[done.run_id])
        before, link, after = done.linked
        linked = format_html('{}<a href="{}">{}</a>{}', before, url, link, after)
        return Outcome(level, linked, url if done.changed else "")
    text = done.text
    if done.refusals:
        others = len(done.refusals) - 1
        text += f" {worded(done.refusals[0])}" + (f" And {others} more." if others else "")
    return Outcome(level, text)


def worded(error: WorkflowError | DatabaseError) -> str:
    """Return why something was refused, in the words of the page."""
    if isinstance(error, RunBusy) or (isinstance(error, DatabaseError) and db.is_lock_timeout(error)):
        return BUSY
    return error.worded(REMEDIES) if isinstance(error, WorkflowError) else CUT_SHORT
