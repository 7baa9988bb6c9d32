"""The decision in the middle of every verb: given what ended, what starts, waits, is skipped, or ends.

Pure: no Django, no database. `decide` looks at the steps that ended, their successors and the run,
never at the whole graph, and works through chains of skips and empty maps in a loop, so a chain of
1,000 of them is no recursion.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django_workflow.definition.elements import DEPENDENCY_OUTCOMES, MATCH_FIRST
from django_workflow.definition.elements import TransitionSpec as Transition
from django_workflow.definition.expressions.language import assign
from django_workflow.definition.names import CONTINUE, FAIL, RETRY
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing import ending, joins, starting
from django_workflow.engine.routing.evaluation import evaluated, seconds
from django_workflow.engine.routing.facts import (
    FINAL,
    NO_VARIABLES,
    OUTERMOST,
    REDO,
    Again,
    Decision,
    NewArrival,
    RunFacts,
    StepEnd,
    error_of,
)
from django_workflow.engine.routing.routing import MISTAKES, Fired, Routing
from django_workflow.exceptions import ExpressionError
from django_workflow.statuses import FAILED, SUCCEEDED


def decide(
    spec: FlowSpec,
    facts: RunFacts,
    ends: Sequence[StepEnd] = (),
    *,
    arrivals: Sequence[NewArrival] = (),
    again: Sequence[Again] = (),
    is_start: bool = False,
) -> Decision:
    """Return what follows from the steps in `ends`, or from the start of the run.

    spec: the run's pinned definition.
    facts: what is known of the run, read under its lock.
    ends: step runs that have just become terminal.
    arrivals: delayed ones that are due. again: activations that an earlier run left open.
    With `is_start`, `ends` are what an earlier run came to; they know the variables with which this one begins.
    """
    return _route(Routing(spec, facts, ends, arrivals), again, is_start=is_start)


def output_of_cut_off(spec: FlowSpec, facts: RunFacts, branches: Sequence[int]) -> dict[str, Any] | None:
    """Return what a run declares as output that somebody ended, as far as it can be evaluated.

    branches: the variables of those that were going on; they end here.
    """
    return ending.cut_branches(Routing(spec, facts), branches)


def _route(routing: Routing, again: Sequence[Again], *, is_start: bool) -> Decision:
    if is_start:
        variables = _begin(routing)
        routing.pending = deque(replace(end, variables=variables) for end in routing.pending)
    for item in again:  # no row tells of them yet, and what is followed may lead to the same steps
        place = (item.step, item.scope)
        routing.iterations[place] = max(starting.last_iteration(routing, *place), item.iteration)
    for item in again:
        if routing.decision.status is None:
            starting.activate(
                routing, routing.spec.steps[item.step], own=item.id, scope=item.scope, iteration=item.iteration,
                source=item.source, variables=item.variables,
            )  # fmt: skip
    for arrival in routing.due:
        if routing.decision.failing is not None:
            routing.decision.arrivals.append(replace(arrival, delay=None))
            continue
        _arrive(routing, arrival.step, _end_of(arrival), arrival.variables, is_cascade=arrival.is_cascade)
    while routing.pending and routing.decision.status is None:
        _follow(routing, routing.pending.popleft())
    if routing.excess is not None and routing.decision.failing is None:
        ending.fail_run(routing, routing.excess)
    if routing.decision.status is None and routing.decision.open_steps == 0:
        _finish(routing)
    return routing.decision


def _begin(routing: Routing) -> int | None:
    """Activate the entry steps; return the variables with which they begin."""
    try:
        variables = _first_variables(routing)
    except MISTAKES as error:
        ending.fail_run(routing, error_of("", type(error).__name__, error.message))
        return None
    for name in routing.spec.entry:
        if routing.decision.status is None:
            starting.activate(routing, routing.spec.steps[name], variables=variables)
    return variables


def _first_variables(routing: Routing) -> int | None:
    if not (routing.spec.vars or routing.spec.dialect.brings_variables):
        return None
    names = routing.context.names(OUTERMOST, None)
    values = evaluated("variables of the flow", names, lambda: routing.language.variables(routing.spec, names))
    return routing.branches.keep(values, NO_VARIABLES, place="variables of the flow") if values else None


def _follow(routing: Routing, end: StepEnd) -> None:
    """Fire the transitions that an ended step's outcome and their conditions let through."""
    if end.ends_run:
        ending.end_branch(routing, end.variables)
        ending.fail_run(routing, end.error or error_of(end.step, "StepFailed", "the step failed"), end)
        return
    dependents = routing.spec.dependents.get(end.step)
    if dependents and end.status != FAILED:
        # most steps lead on by dependencies alone: nothing to decide, publish or wait for
        for target in dependents:
            if routing.decision.status is None:
                _arrive(routing, target, end, end.variables, is_cascade=end.is_cascade)
        return
    if not routing.spec.outbound[end.step] and end.status != FAILED:
        ending.end_branch(routing, end.variables)
        return
    try:
        fired = [_prepared(routing, item, end) for item in _fired(routing, end)]
    except MISTAKES as error:
        ending.fail_run(routing, error_of(end.step, type(error).__name__, error.message), end)
        return
    stops = routing.spec.dialect.stops_on_fail
    commands = {name for item in fired for name in item.transition.to}
    if end.status == FAILED and (not fired or (CONTINUE in commands and stops)):
        ending.end_branches(routing, end, fired)
        ending.fail_run(routing, end.error or error_of(end.step, "StepFailed", "the step failed"), end)
    elif FAIL in commands and stops:
        ending.end_branches(routing, end, fired)
        ending.fail_run(
            routing, end.error or error_of(end.step, "FailCommand", f"step {end.step!r} leads to fail"), end
        )
    else:
        _lead_on(routing, end, fired)
        if FAIL in commands or (commands == {CONTINUE} and end.status == FAILED):
            ending.fail_later(
                routing, end.error or error_of(end.step, "FailCommand", f"task {end.step!r} leads to fail"), end,
                FINAL if any(item.transition.steps for item in fired) else REDO,
            )  # fmt: skip


def _fired(routing: Routing, end: StepEnd) -> list[Transition]:
    """Return the transitions that fire, in listed order: dependencies always, of `next` those that hold."""
    possible = [item for item in routing.spec.outbound[end.step] if end.status in item.on]
    chosen = {id(item) for item in possible if item.on == DEPENDENCY_OUTCOMES}
    following = [item for item in possible if id(item) not in chosen]
    is_first = routing.spec.steps[end.step].match == MATCH_FIRST
    names = routing.context.names_after(end) if following else None
    has_fired = False
    for item in following:
        if item.is_otherwise or (is_first and has_fired):
            continue
        if item.when is None or _holds(routing, item, end, names):
            chosen.add(id(item))
            has_fired = True
    others = [item for item in following if item.is_otherwise] if not has_fired else []
    chosen.update(id(item) for item in (others[:1] if is_first else others))
    return [item for item in possible if id(item) in chosen]


def _holds(routing: Routing, item: Transition, end: StepEnd, names: Any) -> bool:
    condition = item.when
    assert condition is not None
    place = f"condition of {_place_of(routing, item)}"
    return evaluated(place, names, lambda: routing.language.holds(condition, names))


def _prepared(routing: Routing, item: Transition, end: StepEnd) -> Fired:
    """Evaluate what a transition that fires publishes, and its delay."""
    if not item.publish and not isinstance(item.delay, str):
        return Fired(item, end.variables, item.delay or 0.0)
    names = routing.context.names_after(end)
    variables = end.variables
    if item.publish:
        known = routing.branches.variables(end.variables)
        place = f"publish of {_place_of(routing, item)}"
        values = evaluated(place, names, lambda: assign(item.publish, known.values, routing.language, names))
        variables = routing.branches.keep(values, known, {entry.name for entry in item.publish}, place)
        names = routing.context.names_after(end, variables)
    delay = seconds(item.delay, f"delay of {_place_of(routing, item)}", names, routing.language)
    return Fired(item, variables, delay)


def _lead_on(routing: Routing, end: StepEnd, fired: Sequence[Fired]) -> None:
    """Reach the targets of the transitions that fired; one that leads to no step ends its branch."""
    if not fired:
        ending.end_branch(routing, end.variables)
    reached: set[str] = set()
    for item in fired:
        is_cascade = end.is_cascade and item.transition.on == DEPENDENCY_OUTCOMES
        for target in item.transition.steps:
            if routing.decision.status is not None or target in reached:
                continue
            if routing.spec.steps[target].join is None:
                _arrive(routing, target, end, item.variables, is_cascade=is_cascade, delay=item.delay)
                continue
            # several transitions of one step into one join are one arrival, which knows what each publishes
            reached.add(target)
            same = [other for other in fired if target in other.transition.to]
            try:
                variables = routing.branches.joined(
                    [other.variables for other in same], f"variables for step {target!r}"
                )
            except ExpressionError as error:
                ending.fail_run(routing, error_of(end.step, type(error).__name__, error.message))
                return
            delay = min(other.delay for other in same)
            _arrive(routing, target, end, variables, is_cascade=is_cascade, delay=delay)
        if RETRY in item.transition.to and routing.decision.status is None:
            _repeat(routing, end, item)
        elif not item.transition.steps:
            ending.end_branch(routing, item.variables)


def _repeat(routing: Routing, end: StepEnd, item: Fired) -> None:
    """Activate the step that ended once more."""
    if routing.decision.failing is not None:
        ending.cut_off(routing, end, item.variables)
        return
    step = routing.spec.steps[end.step]
    starting.activate(routing, step, scope=end.scope, source=end.id, variables=item.variables, delay=item.delay)


def _arrive(
    routing: Routing, target: str, end: StepEnd, variables: int | None, *, is_cascade: bool = False, delay: float = 0.0
) -> None:
    """Reach a step: it starts, or, a join, it counts; the last arrival it waits for starts it."""
    if routing.decision.failing is not None:
        ending.cut_off(routing, end, variables)
        return
    if target not in routing.spec.joins:
        scope, own = _scope_for(routing, target, end)
        starting.activate(
            routing, routing.spec.steps[target], own=own, scope=scope, source=end.id, variables=variables,
            is_cascade=is_cascade, delay=delay,
        )  # fmt: skip
    elif delay > 0:
        routing.decision.open_steps += 1
        routing.decision.arrivals.append(
            NewArrival(
                target, end.step, is_cascade, end.scope, None, source_run=end.id, variables=variables, delay=delay
            )
        )
    else:
        joins.count_in(routing, target, end, variables, is_cascade=is_cascade)


def _end_of(arrival: NewArrival) -> StepEnd:
    """Return the end of the step whose delayed arrival is due, as far as an arrival needs it."""
    return StepEnd(arrival.source, SUCCEEDED, id=arrival.source_run or 0, scope=arrival.scope)


def _scope_for(routing: Routing, target: str, end: StepEnd) -> tuple[int, int | None]:
    """Return the scope of an activation, and its id where it opens one: a split's first stays where it is."""
    is_split = target in routing.spec.splits and not routing.spec.is_back(end.step, target)
    if is_split and starting.last_iteration(routing, target, end.scope):
        own = routing.state.new_step_run()
        routing.iterations[target, own] = 0
        routing.context.open(own, end.scope)
        return own, own
    return end.scope, None


def _finish(routing: Routing) -> None:
    """Nothing runs or is on its way: the run has come to its end, unless a join waits in vain."""
    decision = routing.decision
    decision.status = SUCCEEDED
    if decision.failing is not None:
        decision.status, decision.error = FAILED, decision.failing
    elif not routing.spec.is_plain:
        partly = joins.unfired(routing)
        first = next((item for item in partly if item.generation == 1), None)
        decision.leftovers = [item for item in partly if item is not first]
        if first is not None:
            decision.status, decision.error = FAILED, joins.missing(routing, first)
        for item in partly:
            joins.end_arrived(routing, item)
        if routing.excess is not None and decision.status == SUCCEEDED:
            decision.status, decision.error = FAILED, routing.excess
    ending.give_output(routing)


def _place_of(routing: Routing, item: Transition) -> str:
    place = routing.spec.outbound[item.source].index(item) + 1
    return f"transition {place} of step {item.source!r}"
