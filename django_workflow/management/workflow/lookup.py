"""Finding what an operator names: a run by a part of its id, a flow, a queue."""

from __future__ import annotations

import re
from difflib import get_close_matches
from uuid import UUID

from django.core.management.base import CommandError

from django_workflow import db
from django_workflow.builder import FlowBuilder
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.exceptions import UnknownFlow
from django_workflow.models import FlowDefinition, Queue, Run
from django_workflow.models.querysets import RunQuerySet
from django_workflow.startable import Startable

#: A part of an id that is shorter says too little.
SHORTEST = 4
CANDIDATES = 5
RUN_HELP = f"Its id, or at least {SHORTEST} of its first or last digits."

FIND_BY_PART = """
    SELECT id FROM django_workflow_run
    WHERE id BETWEEN rpad(%s::text, 32, '0')::uuid AND rpad(%s::text, 32, 'f')::uuid
       OR right(replace(id::text, '-', ''), %s::int) = %s::text
    ORDER BY id DESC LIMIT %s::int
"""


def find_run(text: str) -> Run:
    """Return the run whose id is, begins or ends with `text`; raises `CommandError` for none and for several."""
    part = text.strip().lower().replace("-", "")
    if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},32}}", part):
        raise CommandError(
            f"{text!r} is not a run's id: give the whole of it, or at least {SHORTEST} of its first or last "
            "hexadecimal digits. List runs with: manage.py workflow list"
        )
    if len(part) == 32:
        ids = [UUID(part)]
    else:
        ids = [row[0] for row in db.rows(FIND_BY_PART, [part, part, len(part), part, CANDIDATES + 1])]
    found = list(runs().filter(pk__in=ids))
    if len(found) > 1:
        raise CommandError("\n  ".join([f"Several runs have an id that begins or ends with {text!r}:", *_told(found)]))
    if not found:
        raise CommandError(f"There is no run {text!r}. List runs with: manage.py workflow list")
    return found[0]


def _told(found: list[Run]) -> list[str]:
    lines = [f"{run.pk}  {run.flow.slug}, {run.status}" for run in found[:CANDIDATES]]
    return [*lines, "and more"] if len(found) > CANDIDATES else lines


def runs() -> RunQuerySet:
    """Return all runs with their flows, newest first."""
    return Run.objects.using(conf.DATABASE).select_related("flow", "version").order_by("-id")


def known_step(run: Run, name: str) -> str:
    """Return the name of a step of the run's flow; raises `CommandError`."""
    steps = list(run.version.compiled.steps)
    if name not in steps:
        raise CommandError(unknown("step", name, steps, none=f"Flow {run.flow.slug!r} has no steps."))
    return name


def find_flow(slug: str) -> Startable:
    """Return the flow that starts by this name: declared in code, or stored; raises `CommandError`."""
    try:
        declared: Startable = registry.flow(slug)
    except UnknownFlow:
        pass
    else:
        return declared
    try:
        return FlowBuilder.get_flow(slug)
    except UnknownFlow:
        known = [*(flow.slug for flow in registry.flows()), *(flow.slug for flow in FlowBuilder.list_flows())]
        raise CommandError(
            unknown("flow", slug, known, none="No flow is declared: write one in workflows.py of an installed app.")
        ) from None


def known_flow(slug: str) -> str:
    """Return the name of a flow that is known, or was when it had runs; raises `CommandError`."""
    known = {flow.slug for flow in registry.flows()}
    known |= set(FlowDefinition.objects.using(conf.DATABASE).values_list("slug", flat=True))
    if slug not in known:
        raise CommandError(unknown("flow", slug, sorted(known), none="No flow is declared or stored."))
    return slug


def known_queue(name: str) -> str:
    """Return the name of a queue that exists; raises `CommandError`."""
    known = list(Queue.objects.using(conf.DATABASE).values_list("name", flat=True))
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
