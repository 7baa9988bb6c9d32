"""The page of one run: what it is, where it stands, why it waits, and all that happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from django_workflow import permissions
from django_workflow.engine.stored.outputs import run_output
from django_workflow.models import Run
from django_workflow.read.run import wait_reasons
from django_workflow.read.run.facts import Facts, read_facts
from django_workflow.read.run.steps import StepFacts, read_step_run, read_steps
from django_workflow.read.run.task_counts import tallies
from django_workflow.read.run.tasks import ItemPage
from django_workflow.read.versions import readable_spec
from django_workflow.statuses import PAUSED, SUCCEEDED
from django_workflow.web.access import page, run_or_404
from django_workflow.web.acting.buttons import buttons, step_buttons
from django_workflow.web.address import EVENT_KINDS, Address
from django_workflow.web.run import events, graph, payloads, step_runs, task_panel, timeline


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
    left = tallies.seconds_left(run_id)
    context = context_of(found, Address.of_query(request.GET), sight)
    context["buttons"] = buttons(request.user, found)
    if panel := context["panel"]:
        status = panel.step.status if panel.step.id is not None else None
        context["step_buttons"] = step_buttons(
            request.user, found, panel.step.step, status,
            activation=panel.step.id, is_plain=context["facts"].spec.is_plain,
        )  # fmt: skip
    answer = render(request, "django_workflow/run.html", context)
    if left:
        # the page shows what was counted a while ago: loaded once more then, it shows the last of it
        answer["Retry-After"] = str(math.ceil(left))
    return answer


def context_of(run: Run, address: Address, sight: Sight) -> dict[str, Any]:
    """Read a run and return what its page shows.

    With the run's own row these are five statements, six for a run that succeeded, and three more where steps may run
    again or publish variables, one more where tasks wait for a later time; the panel adds up to four, there up to
    eight.
    """
    spec = readable_spec(run.version)
    steps = read_steps(run.pk, spec)
    chosen, detail = _chosen(run, steps, address, sight)
    if not sight.payload:
        for step in (*steps.values(), *([chosen] if chosen is not None else [])):
            step.message = payloads.HIDDEN_REASON if step.message else ""
    facts = read_facts(run, spec, steps, chosen=chosen, page=_items_of(chosen, address), has_payload=sight.payload)
    outputs = _read_outputs(facts, chosen, address) if sight.payload else {}
    panel = None
    if chosen is not None:
        panel = _panel(facts, chosen, address, detail, sight)
        panel.inputs = [outputs[name] for name in _inputs(facts, chosen) if name in outputs]
    selected = chosen.step if chosen is not None else ""
    total, done, failed = facts.totals
    return {
        "page": "runs",
        "run": run,
        "facts": facts,
        "address": address,
        "sight": sight,
        "graph": graph.draw(facts, address, selected),
        "timeline": timeline.draw(facts, address, selected),
        "legend": (*timeline.LEGEND, *(timeline.LEGEND_OF_LOOPS if facts.course.passes else ())),
        "narrative": events.read(facts, address, has_payload=sight.payload),
        "event_kinds": EVENT_KINDS,
        "panel": panel,
        "why": wait_reasons.of_run(facts),
        "paused": wait_reasons.notice_of_pause(facts) if run.status == PAUSED else "",
        "ended": wait_reasons.notice_of_end(facts),
        "still_running": sum(step.tally.running for step in facts.steps.values()),
        "total": total,
        "done": done,
        "failed": failed,
        "filled": total if run.status == SUCCEEDED else done,
        "percentage": 100.0 if run.status == SUCCEEDED else 100.0 * done / total if total else 0.0,
        "is_endless": spec.has_loops and run.status != SUCCEEDED,
        "input": _input(run, address, sight),
        "declared": _declared_output(facts, address, sight),
        "outputs": [outputs[name] for name in _leaves(facts) if name in outputs],
        "has_more_outputs": len(spec.leaves) > payloads.MOST_STEPS,
        "variables": _variables(run, address, sight),
    }


def _chosen(
    run: Run, steps: dict[str, StepFacts], address: Address, sight: Sight
) -> tuple[StepFacts | None, task_panel.TaskDetail | None]:
    """Read what the panel is about: an activation of a step, and a task of it."""
    chosen = steps.get(address.step)
    if address.activation is not None:
        found = read_step_run(run.pk, address.activation, steps)
        if found is not None:
            chosen = steps[found.step] if steps[found.step].id == found.id else found
    detail = task_panel.read_task(run, chosen, address, has_payload=sight.payload)
    if detail is not None and detail.step in steps and (chosen is None or chosen.id != detail.task.step_run_id):
        chosen = steps[detail.step]
        if chosen.id != detail.task.step_run_id:
            chosen = read_step_run(run.pk, detail.task.step_run_id, steps) or chosen
    return chosen, detail


def _items_of(chosen: StepFacts | None, address: Address) -> ItemPage:
    if chosen is None or not chosen.is_map or chosen.id is None:
        return ItemPage()
    offset = min((address.page - 1) * task_panel.ITEMS, 2**31 - 1)
    return ItemPage(chosen.id, address.status, task_panel.ITEMS, offset)


def _leaves(facts: Facts) -> Sequence[str]:
    """Return the steps whose outputs are the run's."""
    is_own = facts.run.status == SUCCEEDED and not facts.spec.output
    return facts.spec.leaves if is_own else ()


def _inputs(facts: Facts, chosen: StepFacts) -> Sequence[str]:
    """Return the steps whose outputs the chosen activation takes, where the latest ones are those that it took."""
    if chosen is not facts.steps[chosen.step] or chosen.scope:
        return ()
    step = facts.spec.steps[chosen.step]
    return tuple(dict.fromkeys((*step.depends_on, *step.sources)))


def _read_outputs(facts: Facts, chosen: StepFacts | None, address: Address) -> dict[str, payloads.Value]:
    """Read what is shown of outputs: those of the run, and those that the chosen step takes."""
    names = [*(_inputs(facts, chosen) if chosen is not None else ()), *_leaves(facts)]
    return payloads.read_outputs(facts, [name for name in names if name in facts.steps], address)


def _declared_output(facts: Facts, address: Address, sight: Sight) -> payloads.Value | None:
    """Return the output that the flow declares, once the run has ended; None where it declares none."""
    if not facts.spec.output or not facts.is_settled:
        return None
    if not sight.payload:
        return payloads.Value("Output", is_masked=True)
    value = run_output(facts.run.pk, facts.spec, facts.run.output)
    return payloads.value_of("Output", value, payloads.WHOLE_OUTPUT, address)


def _variables(run: Run, address: Address, sight: Sight) -> payloads.Value | None:
    """Return the variables of the branches that have ended; None where there are none."""
    if run.variables_id is None:
        return None
    return step_runs.variables("Variables", run.variables_id, address, has_payload=sight.payload)


def _panel(
    facts: Facts, chosen: StepFacts, address: Address, detail: task_panel.TaskDetail | None, sight: Sight
) -> task_panel.Panel:
    if detail is not None:
        task_panel.explain(facts, detail)
    panel = task_panel.build(facts, chosen, address, detail)
    panel.turns = step_runs.read_turns(facts, chosen, address, has_payload=sight.payload)
    if detail is not None:
        panel.logs = task_panel.read_logs(detail, address, is_visible=sight.logs)
    return panel


def _input(run: Run, address: Address, sight: Sight) -> payloads.Value:
    if not sight.payload:
        return payloads.Value("Input", is_masked=True)
    return payloads.value_of("Input", run.input, "input", address)
