"""The page of one run: what it is, where it stands, why it waits, and all that happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from django_workflow import permissions
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import FlowVersion, Run
from django_workflow.statuses import PAUSED, SUCCEEDED
from django_workflow.web import graph, narrative, payloads, task_panel, timeline, verbs, waiting
from django_workflow.web.access import page, run_or_404
from django_workflow.web.address import EVENT_KINDS, Address
from django_workflow.web.run_facts import Facts, ItemPage, StepFacts, read_around, read_steps, read_tasks


@dataclass(frozen=True, slots=True)
class Sight:
    """What the viewer may see of a run besides its course."""

    payload: bool
    logs: bool


@require_safe
@page
def run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show a run."""
    found = run_or_404(request, run_id)
    sight = Sight(
        payload=permissions.may(request.user, permissions.VIEW_PAYLOAD, found.flow),
        logs=permissions.may(request.user, permissions.VIEW_LOGS, found.flow),
    )
    context = context_of(found, Address.of_query(request.GET), sight)
    context["buttons"] = verbs.buttons(request.user, found)
    if panel := context["panel"]:
        status = panel.step.status if panel.step.id is not None else None
        context["step_buttons"] = verbs.step_buttons(request.user, found, panel.step.step, status)
    return render(request, "django_workflow/run.html", context)


def context_of(run: Run, address: Address, sight: Sight) -> dict[str, Any]:
    """Read a run and return what its page shows.

    With the run's own row these are five statements, six for a run that succeeded; the panel adds up to four.
    """
    spec = readable_spec(run.version)
    steps = read_steps(run.pk, spec)
    chosen = steps.get(address.step)
    detail = task_panel.read_task(run, chosen, address, has_payload=sight.payload)
    if detail is not None and chosen is None:
        chosen = steps.get(detail.step)
    facts = Facts(run, spec, steps, read_around(run, spec))
    read_tasks(facts, _items_of(chosen, address), has_payload=sight.payload)
    outputs = _read_outputs(facts, chosen, address) if sight.payload else {}
    panel = None
    if chosen is not None:
        panel = _panel(facts, chosen, address, detail, sight)
        panel.inputs = [outputs[name] for name in spec.steps[chosen.step].depends_on if name in outputs]
    selected = chosen.step if chosen is not None else ""
    total, settled, failed = facts.totals
    return {
        "page": "runs",
        "run": run,
        "facts": facts,
        "address": address,
        "sight": sight,
        "graph": graph.draw(facts, address, selected),
        "timeline": timeline.draw(facts, address, selected),
        "legend": timeline.LEGEND,
        "narrative": narrative.read(facts, address, has_payload=sight.payload),
        "event_kinds": EVENT_KINDS,
        "panel": panel,
        "why": waiting.of_run(facts),
        "paused": waiting.notice_of_pause(facts) if run.status == PAUSED else "",
        "ended": waiting.notice_of_end(facts),
        "still_running": sum(step.running for step in facts.steps.values()),
        "total": total,
        "settled": settled,
        "failed": failed,
        "percentage": 100.0 * settled / total if total else 0.0,
        "is_endless": spec.has_loops and not facts.is_settled,
        "input": _input(run, address, sight),
        "outputs": [outputs[name] for name in spec.leaves if name in outputs] if run.status == SUCCEEDED else [],
        "has_more_outputs": len(spec.leaves) > payloads.MOST_STEPS,
    }


def readable_spec(version: FlowVersion) -> FlowSpec:
    """Return a version's definition; an empty one where a later release of this package wrote it in other words."""
    try:
        return version.compiled
    except (KeyError, TypeError, ValueError):
        return FlowSpec(version.flow.slug, {}, (), ())


def _items_of(chosen: StepFacts | None, address: Address) -> ItemPage:
    if chosen is None or not chosen.is_map or chosen.id is None:
        return ItemPage()
    offset = min((address.page - 1) * task_panel.ITEMS, 2**31 - 1)
    return ItemPage(chosen.id, address.status, task_panel.ITEMS, offset)


def _read_outputs(facts: Facts, chosen: StepFacts | None, address: Address) -> dict[str, payloads.Value]:
    """Read what is shown of outputs: those of the run, and those that the chosen step takes."""
    names: list[str] = []
    if chosen is not None:
        names += facts.spec.steps[chosen.step].depends_on
    if facts.run.status == SUCCEEDED:
        names += facts.spec.leaves
    return payloads.read_outputs(facts, names, address)


def _panel(
    facts: Facts, chosen: StepFacts, address: Address, detail: task_panel.TaskDetail | None, sight: Sight
) -> task_panel.Panel:
    if detail is not None:
        task_panel.explain(facts, detail)
    panel = task_panel.build(facts, chosen, address, detail)
    if detail is not None:
        panel.logs = task_panel.read_logs(detail, address, is_visible=sight.logs)
    return panel


def _input(run: Run, address: Address, sight: Sight) -> payloads.Value:
    if not sight.payload:
        return payloads.Value("Input", is_masked=True)
    return payloads.value_of("Input", run.input, "input", address)
