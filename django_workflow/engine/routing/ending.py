"""How a decision ends branches and the run: what it fails of, and what it gives. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django_workflow.definition.schemas import schema
from django_workflow.engine.routing.evaluation import Names, evaluated
from django_workflow.engine.routing.facts import FOLLOW, LEAVE, OUTERMOST, REDO, Error, StepEnd, error_of
from django_workflow.engine.routing.routing import MISTAKES, Fired, Routing
from django_workflow.engine.routing.variables import check_size, size_of
from django_workflow.exceptions import ExpressionError, UnregisteredHandler
from django_workflow.statuses import CANCELLED, FAILED, RUNNING, SUCCEEDED


def cut_branches(routing: Routing, branches: Sequence[int]) -> dict[str, Any] | None:
    """End branches where they are, and evaluate the output."""
    for variables in branches:
        end_branch(routing, variables)
    routing.decision.status = CANCELLED
    give_output(routing)
    return routing.decision.output


def give_output(routing: Routing) -> None:
    """Evaluate the declared output; of a run that failed, as far as it can be."""
    if not routing.spec.output:
        return
    decision = routing.decision
    names = routing.context.names(OUTERMOST, decision.final_variables)
    try:
        output = evaluated("output of the flow", names, lambda: routing.language.outputs(routing.spec, names))
        if problem := schema.not_json(output):
            raise ExpressionError(f"output of the flow: it is {problem}")
        check_size(output, "output of the flow", routing.facts.max_output)
        decision.output = output
    except MISTAKES as error:
        if decision.status == SUCCEEDED:
            decision.status = FAILED
            decision.error = error_of("", type(error).__name__, error.message)
        if names.failure is None and not isinstance(error, UnregisteredHandler):
            decision.output = _partial_output(routing, names)


def _partial_output(routing: Routing, names: Names) -> dict[str, Any] | None:
    """Return what can be evaluated of the declared output; None where nothing can, or it is too large."""
    output = routing.language.outputs(routing.spec, names, is_partial=True)
    if names.failure is not None:
        raise names.failure
    partial = {name: value for name, value in output.items() if schema.is_json({name: value})}
    return partial if partial and size_of(partial) <= routing.facts.max_output else None


def fail_run(routing: Routing, error: Error, culprit: StepEnd | None = None) -> None:
    """Fail fast: what has not started yet will not start. culprit: the end that a retry executes anew."""
    decision = routing.decision
    if decision.status is not None:
        return
    decision.status, decision.error = FAILED, error
    running = [item for item in decision.activations if item.status == RUNNING]
    decision.activations = [item for item in decision.activations if item.status != RUNNING]
    decision.open_steps -= len(running) + sum(
        item.delay is not None and item.generation is None for item in decision.arrivals
    )
    decision.task_count = routing.facts.task_count
    decision.waiting.clear()
    decision.arrivals = [replace(arrival, delay=None) for arrival in routing.due]
    _leave_to_retry(routing, culprit)
    give_output(routing)


def fail_later(routing: Routing, error: Error, culprit: StepEnd, on_retry: str) -> None:
    """Nothing new starts from here on; what runs goes on, then the run fails."""
    if routing.decision.status is None:
        routing.decision.on_retry[culprit.id] = on_retry
    if routing.decision.failing is None:
        routing.decision.failing = error


def _leave_to_retry(routing: Routing, culprit: StepEnd | None) -> None:
    """This decision came to nothing: a retry makes it again for all its ends but what ended the run."""
    if routing.spec.is_plain:
        return
    marks = routing.decision.on_retry
    marks.update((item.id, LEAVE) for item in routing.decision.activations)
    for end in routing.ends:
        marks[end.id] = REDO if end is culprit or _is_unhandled(routing, end) else FOLLOW


def _is_unhandled(routing: Routing, end: StepEnd) -> bool:
    return end.status == FAILED and not any(FAILED in item.on for item in routing.spec.outbound[end.step])


def cut_off(routing: Routing, end: StepEnd, variables: int | None) -> None:
    """The run fails once nothing runs any more: an end leads no further, unless in a retry."""
    end_branch(routing, variables)
    routing.decision.on_retry.setdefault(end.id, FOLLOW)


def end_branches(routing: Routing, end: StepEnd, fired: Sequence[Fired]) -> None:
    """End the branches of a step that leads no further, with all that its transitions published."""
    for variables in dict.fromkeys([end.variables, *(item.variables for item in fired)]):
        end_branch(routing, variables)


def end_branch(routing: Routing, variables: int | None) -> None:
    """A branch ends here: what it knows is the run's from now on; where that is too much the run fails."""
    if not routing.spec.output:
        return
    try:
        known = [routing.decision.final_variables, variables]
        routing.decision.final_variables = routing.branches.joined(known, "variables of the branches that ended")
    except ExpressionError as error:
        # a run that fails anyway keeps its own reason: this one counts once all else is done
        routing.excess = routing.excess or error_of("", type(error).__name__, error.message)
