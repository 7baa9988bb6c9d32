"""Finding what an operator names: a run by a part of its id, a flow, a queue."""

from __future__ import annotations

from difflib import get_close_matches

from django.core.management.base import CommandError

from django_workflow import startables
from django_workflow.definition.registry import registry
from django_workflow.exceptions import UnknownFlow
from django_workflow.models import Run
from django_workflow.read import find
from django_workflow.read.find import LEAST_DIGITS
from django_workflow.read.runs import newest
from django_workflow.startable import Startable

CANDIDATES = 5
RUN_HELP = f"Its id, or at least {LEAST_DIGITS} of its first or last digits."


def find_run(text: str) -> Run:
    """Return the run whose id is, begins or ends with `text`; raises `CommandError` for none and for several."""
    if not find.digits_of(text):
        raise CommandError(
            f"{text!r} is not a run's id: give the whole of it, or at least {LEAST_DIGITS} of its first or last "
            "hexadecimal digits. List runs with: manage.py workflow list"
        )
    found = list(newest().filter(pk__in=find.runs_like(text, CANDIDATES + 1)))
    if len(found) > 1:
        raise CommandError("\n  ".join([f"Several runs have an id that begins or ends with {text!r}:", *_told(found)]))
    if not found:
        raise CommandError(f"There is no run {text!r}. List runs with: manage.py workflow list")
    return found[0]


def _told(found: list[Run]) -> list[str]:
    lines = [f"{run.pk}  {run.flow.slug}, {run.status}" for run in found[:CANDIDATES]]
    return [*lines, "and more"] if len(found) > CANDIDATES else lines


def known_step(run: Run, name: str) -> str:
    """Return the name of a step of the run's flow; raises `CommandError`."""
    steps = list(run.version.compiled.steps)
    if name not in steps:
        raise CommandError(unknown("step", name, steps, none=f"Flow {run.flow.slug!r} has no steps."))
    return name


def find_flow(slug: str) -> Startable:
    """Return the flow that starts by this name: declared in code, or stored; raises `CommandError`."""
    try:
        return startables.find(slug)
    except UnknownFlow:
        none = "No flow is declared: write one in workflows.py of an installed app."
        raise CommandError(unknown("flow", slug, startables.slugs(), none=none)) from None


def known_flow(slug: str) -> str:
    """Return the name of a flow that is known, or was when it had runs; raises `CommandError`."""
    known = {flow.slug for flow in registry.flows()}
    known |= {flow.slug for flow in find.flows()}
    if slug not in known:
        raise CommandError(unknown("flow", slug, sorted(known), none="No flow is declared or stored."))
    return slug


def known_queue(name: str) -> str:
    """Return the name of a queue that exists; raises `CommandError`."""
    known = find.queue_names()
    if name not in known:
        raise CommandError(unknown("queue", name, known, none="There is no queue yet; run: manage.py migrate"))
    return name


def unknown(kind: str, name: str, known: list[str], *, none: str) -> str:
    """Say that something does not exist, and what does that is spelt much like it."""
    head = f"There is no {kind} {name!r}."
    if not known:
        return f"{head} {none}"
    if close := get_close_matches(name, known, n=3, cutoff=0.6):
        return f"{head} Did you mean {' or '.join(map(repr, close))}?"
    return f"{head} Known: {', '.join(sorted(known))}."
