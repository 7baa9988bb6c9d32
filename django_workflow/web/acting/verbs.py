"""What people may do with runs, queues and flows: the words, the permissions, and where it makes sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.urls import reverse

from django_workflow import permissions
from django_workflow.models import Run
from django_workflow.statuses import (
    CANCELLED,
    PAUSED,
    RUN_STATUSES,
    RUN_TERMINAL,
    RUNNING,
    SCHEDULED,
    STEP_TERMINAL,
    SUCCEEDED,
)

PAUSE, RESUME, CANCEL, RETRY = "pause", "resume", "cancel", "retry"
SKIP_STEP, COMPLETE_STEP, DISMISS = "skip_step", "complete_step", "dismiss"

UNSETTLED: Final = frozenset(RUN_STATUSES) - RUN_TERMINAL


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that people do.

    label: on the button. permission: who may. statuses: of runs with which it can be done.
    done: statuses in which it has been done already. past: for messages and records, "cancelled".
    meaning: one sentence for those who are about to do it.
    """

    name: str
    label: str
    permission: str
    past: str
    meaning: str
    statuses: frozenset[str] = frozenset()
    done: frozenset[str] = frozenset()
    is_dangerous: bool = False

    def fits(self, run: Run) -> bool:
        """Say whether it makes sense for a run as it stands."""
        if run.status not in self.statuses:
            return False
        if self.name == RESUME:
            return run.flow.paused_at is None  # else its flow has to be resumed
        # a run that is executed by its caller has no queue that could be held
        return not (self.name == PAUSE and run.is_local)


_PAUSE = Verb(
    PAUSE, "Pause", permissions.PAUSE, "paused",
    "Nothing new starts until it is resumed. Running handlers finish.",
    statuses=frozenset({SCHEDULED, RUNNING}), done=frozenset({PAUSED}),
)  # fmt: skip
_RESUME = Verb(
    RESUME, "Resume", permissions.PAUSE, "resumed",
    "Held tasks are queued again, with the delays that remained.",
    statuses=frozenset({PAUSED}), done=frozenset({SCHEDULED, RUNNING}),
)  # fmt: skip
_RETRY = Verb(
    RETRY, "Retry", permissions.RETRY, "retried",
    "A retry is a new run: it takes over what succeeded and runs the rest again. The old run stays as it is.",
    statuses=RUN_TERMINAL,
)  # fmt: skip

RUN_VERBS: Final[dict[str, Verb]] = {
    verb.name: verb
    for verb in (
        _PAUSE,
        _RESUME,
        _RETRY,
        Verb(
            SKIP_STEP, "Skip", permissions.RETRY, "skipped",
            "The step ends as skipped. The steps after it run without its output.",
            statuses=UNSETTLED, is_dangerous=True,
        ),
        Verb(
            COMPLETE_STEP, "Mark done", permissions.RETRY, "completed",
            "The step ends as succeeded with the output you give. The steps after it use that output.",
            statuses=UNSETTLED, is_dangerous=True,
        ),
        Verb(
            CANCEL, "Cancel", permissions.CANCEL, "cancelled",
            "This ends the run now and cannot be undone. "
            "Handlers that are still running are told to stop; their results are discarded.",
            statuses=UNSETTLED, done=frozenset({CANCELLED}), is_dangerous=True,
        ),
    )
}  # fmt: skip
#: What can be done with several runs at once.
BULK_VERBS: Final = {name: RUN_VERBS[name] for name in (PAUSE, RESUME, RETRY, CANCEL)}
QUEUE_VERBS: Final = {
    PAUSE: Verb(
        PAUSE, "Pause", permissions.PAUSE, "paused",
        "No worker takes tasks from this queue, whatever run they belong to, until it is resumed.",
    ),
    RESUME: Verb(RESUME, "Resume", permissions.PAUSE, "resumed", "Workers take tasks from this queue again."),
}  # fmt: skip
FLOW_VERBS: Final = {
    PAUSE: Verb(
        PAUSE, "Pause", permissions.PAUSE, "paused",
        "All its runs are held until it is resumed, including those that are started later.",
    ),
    RESUME: Verb(
        RESUME, "Resume", permissions.PAUSE, "resumed",
        "Its runs are resumed, except those that were paused on their own.",
    ),
}  # fmt: skip
LETTER_VERBS: Final = {
    RETRY: Verb(
        RETRY, "Retry", permissions.RETRY, "retried",
        "Each run they belong to is retried once: what failed in it, and what follows, runs again.",
    ),
    DISMISS: Verb(
        DISMISS, "Dismiss", permissions.RETRY, "dismissed",
        "They are no longer listed. Nothing runs. The reason is kept.", is_dangerous=True,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Button:
    """A link to the page that asks before it does something."""

    name: str
    label: str
    url: str
    is_dangerous: bool = False


def buttons(user: Any, run: Run) -> list[Button]:
    """Return what a user may do with a run as it stands; costs no statement where `run.flow` is loaded."""
    found = [
        button
        for name in (PAUSE, RESUME, RETRY, CANCEL)
        if RUN_VERBS[name].fits(run) and permissions.may(user, RUN_VERBS[name].permission, run.flow)
        for button in _of_verb(RUN_VERBS[name], run)
    ]
    if run.status == PAUSED and run.flow.paused_at is not None and permissions.may(user, permissions.PAUSE, run.flow):
        url = reverse("django_workflow:flow_action", args=[run.flow.slug, RESUME])
        found.insert(0, Button("resume_flow", "Resume the flow", url))
    return found


def _of_verb(verb: Verb, run: Run) -> Iterator[Button]:
    if verb.name != RETRY:
        yield Button(verb.name, verb.label, _url(run, verb.name), verb.is_dangerous)
    elif run.status == SUCCEEDED:
        yield Button(RETRY, "Run again", _url(run, RETRY, mode="all"))
    else:
        yield Button(RETRY, "Retry failed", _url(run, RETRY))
        yield Button("retry_all", "Run all again", _url(run, RETRY, mode="all"))


def step_buttons(
    user: Any, run: Run, step: str, status: str | None, *, activation: int | None = None, is_plain: bool = True
) -> list[Button]:
    """Return what a user may do with a step of a run.

    status: of the step run that is shown; None where the run has not reached it.
    activation: its id, so that no other one is ended than the one somebody looked at.
    is_plain: no condition or loop decides where the flow goes on; only such a run can be repeated from its middle.
    """
    if not permissions.may(user, permissions.RETRY, run.flow):
        return []
    if run.status in RUN_TERMINAL:
        return [Button(RETRY, "Run again from here", _url(run, RETRY, from_step=step))] if is_plain else []
    if status is None or status in STEP_TERMINAL:
        return []
    query = {"step": step} | ({"activation": str(activation)} if activation is not None else {})
    return [
        Button(name, RUN_VERBS[name].label, _url(run, name, **query), is_dangerous=True)
        for name in (SKIP_STEP, COMPLETE_STEP)
    ]


def flow_buttons(user: Any, flow: Any) -> list[Button]:
    """Return what a user may do with a flow."""
    found = []
    if permissions.may(user, permissions.START, flow):
        found.append(Button("start", "Start a run", reverse("django_workflow:start", args=[flow.slug])))
    if permissions.may(user, permissions.PAUSE, flow):
        verb = FLOW_VERBS[PAUSE if flow.paused_at is None else RESUME]
        found.append(Button(verb.name, verb.label, reverse("django_workflow:flow_action", args=[flow.slug, verb.name])))
    return found


def queue_buttons(user: Any, queue: Any) -> list[Button]:
    """Return what a user may do with a queue."""
    if not permissions.may(user, permissions.PAUSE):
        return []
    verb = QUEUE_VERBS[PAUSE if queue.paused_at is None else RESUME]
    return [Button(verb.name, verb.label, reverse("django_workflow:queue_action", args=[queue.name, verb.name]))]


def _url(run: Run, name: str, **query: str) -> str:
    url = reverse("django_workflow:run_action", args=[run.pk, name])
    return f"{url}?{urlencode(query)}" if query else url
