"""The buttons that lead to pages that act: what makes sense, and what the user may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from django_workflow import permissions
from django_workflow.models import Run
from django_workflow.operations import FLOWS, QUEUES, RETRY, RUNS, START, STEPS
from django_workflow.operations.operation import Operation
from django_workflow.operations.runs import Offer, RunOperation
from django_workflow.operations.steps import StepOfRun
from django_workflow.statuses import PAUSED, RUN_TERMINAL, STEP_TERMINAL


@dataclass(frozen=True, slots=True)
class Button:
    """A link to the page that asks before it does something."""

    name: str
    label: str
    url: str
    is_dangerous: bool = False


def run_operations() -> list[RunOperation[Any]]:
    """Return what people do with runs, in the order of buttons: what is dangerous comes last."""
    return sorted(RUNS.values(), key=lambda operation: operation.is_dangerous)


def buttons(user: Any, run: Run) -> list[Button]:
    """Return what a user may do with a run as it stands; costs no statement where `run.flow` is loaded."""
    found = [
        _of_run(run, operation, offer)
        for operation in run_operations()
        if operation.fits(run) and operation.is_allowed(user, run)
        for offer in operation.offers(run)
    ]
    if run.status == PAUSED and run.flow.paused_at is not None:
        others = _of_row(user, FLOWS, run.flow, "flow_action", run.flow.slug)
        found[:0] = [Button(f"{item.name}_flow", f"{item.label} the flow", item.url) for item in others]
    return found


def step_buttons(
    user: Any, run: Run, step: str, status: str | None, *, activation: int | None = None, is_plain: bool = True
) -> list[Button]:
    """Return what a user may do with a step of a run.

    status: of the step run that is shown; None where the run has not reached it.
    activation: its id, so that no other one is ended than the one somebody looked at.
    is_plain: no condition or loop decides where the flow goes on; only such a run can be repeated from its middle.
    """
    if run.status in RUN_TERMINAL:
        is_offered = is_plain and RETRY.is_allowed(user, run)
        return [_of_run(run, RETRY, RETRY.offer_from(step))] if is_offered else []
    if status is None or status in STEP_TERMINAL:
        return []
    target = StepOfRun(run, step, activation)
    query = {"step": step} | ({"activation": str(activation)} if activation is not None else {})
    return [
        _of_run(run, operation, Offer(operation.name, operation.label, query))
        for operation in STEPS.values()
        if operation.is_allowed(user, target)
    ]


def flow_buttons(user: Any, flow: Any) -> list[Button]:
    """Return what a user may do with a flow."""
    found = _of_row(user, FLOWS, flow, "flow_action", flow.slug)
    if permissions.may(user, START.permission, flow):
        found.insert(0, Button(START.name, START.label, reverse("django_workflow:start", args=[flow.slug])))
    return found


def queue_buttons(user: Any, queue: Any) -> list[Button]:
    """Return what a user may do with a queue."""
    return _of_row(user, QUEUES, queue, "queue_action", queue.name)


def _of_row(user: Any, operations: Mapping[str, Operation[Any, Any]], row: Any, page: str, name: str) -> list[Button]:
    return [
        Button(item.name, item.label, reverse(f"django_workflow:{page}", args=[name, item.name]), item.is_dangerous)
        for item in operations.values()
        if item.fits(row) and item.is_allowed(user, row)
    ]


def _of_run(run: Run, operation: Operation[Any, Any], offer: Offer) -> Button:
    url = reverse("django_workflow:run_action", args=[run.pk, operation.name])
    query = f"?{urlencode(offer.options)}" if offer.options else ""
    return Button(offer.name, offer.label, url + query, operation.is_dangerous)
