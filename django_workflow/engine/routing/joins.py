"""What a decision counts at joins, and what they wait for in vain. Pure."""

from __future__ import annotations

from django_workflow.engine.routing import ending, starting
from django_workflow.engine.routing.facts import Arrived, Error, NewArrival, StepEnd, Unfired, Waiting, error_of
from django_workflow.engine.routing.routing import Routing
from django_workflow.exceptions import ExpressionError


def count_in(routing: Routing, target: str, end: StepEnd, variables: int | None, *, is_cascade: bool) -> None:
    """Count an arrival at a join; the last one of a generation activates it, later ones change nothing."""
    number = _next_generation(routing, target, end)
    key = (target, end.scope, number)
    if key not in routing.generations:
        routing.generations[key] = routing.state.generation(target, end.scope, number)
    generation = routing.generations[key]
    is_woken = generation.step_run is not None and generation.step_run not in {
        item.id for item in routing.decision.waiting
    }
    if generation.step_run is None:
        generation.step_run = routing.state.new_step_run()
        generation.iteration = starting.next_iteration(routing, target, end.scope)
        routing.decision.waiting.append(Waiting(generation.step_run, target, end.scope, generation.iteration))
    generation.arrived[end.step] = Arrived(is_cascade, variables)
    routing.decision.arrivals.append(
        NewArrival(target, end.step, is_cascade, end.scope, number, generation.step_run, end.id, variables)
    )
    if generation.is_fired:
        ending.end_branch(routing, variables)
    elif len(generation.arrived) == routing.spec.join_size(target):
        try:
            place, arrived = f"variables for step {target!r}", generation.arrived.values()
            joined = routing.branches.joined([item.variables for item in arrived], place)
        except ExpressionError as error:
            ending.fail_run(routing, error_of(target, type(error).__name__, error.message))
            return
        generation.is_fired = True
        routing.decision.waiting = [item for item in routing.decision.waiting if item.id != generation.step_run]
        starting.activate(
            routing, routing.spec.steps[target], own=generation.step_run, iteration=generation.iteration,
            is_woken=is_woken, scope=end.scope, source=end.id, variables=joined,
            is_cascade=any(item.is_cascade for item in arrived),
        )  # fmt: skip


def _next_generation(routing: Routing, target: str, end: StepEnd) -> int:
    """Count an arrival of a source at a join in its scope."""
    if end.step not in routing.spec.repeating and end.step not in routing.spec.splits:
        return 1
    key = (target, end.scope, end.step)
    if key not in routing.arrivals_of:
        routing.arrivals_of[key] = routing.state.last_generation(*key)
    routing.arrivals_of[key] += 1
    return routing.arrivals_of[key]


def unfired(routing: Routing) -> list[Unfired]:
    """Return the joins that somebody has reached and that still wait."""
    before = {(item.step, item.scope, item.generation): item for item in routing.state.unfired()}
    for (step, scope, number), seen in routing.generations.items():
        before[step, scope, number] = Unfired(step, scope, number, tuple(seen.arrived))
    fired = {key for key, seen in routing.generations.items() if seen.is_fired}
    return [item for key, item in before.items() if key not in fired]


def missing(routing: Routing, join: Unfired) -> Error:
    """Return the error of a run in which a join waits in vain."""
    expected = [name for name in routing.spec.predecessors[join.step] if name not in join.sources]
    arrived = ", ".join(repr(name) for name in join.sources)
    absent = ", ".join(repr(name) for name in expected)
    size = routing.spec.join_size(join.step)
    message = f"join {join.step!r} waits for {size} steps, and nothing is left to reach it; there: {arrived}"
    return error_of(join.step, "JoinIncomplete", f"{message}; missing: {absent}")


def end_arrived(routing: Routing, join: Unfired) -> None:
    """The branches that wait at a join in vain end there."""
    if routing.spec.output:
        key = (join.step, join.scope, join.generation)
        seen = routing.generations.get(key) or routing.state.generation(*key)
        for arrival in seen.arrived.values():
            ending.end_branch(routing, arrival.variables)
