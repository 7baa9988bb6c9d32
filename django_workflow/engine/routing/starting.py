"""How a decision begins a step: with its tasks, or settled at once. Pure."""

from __future__ import annotations

from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.engine.routing import ending
from django_workflow.engine.routing.evaluation import seconds
from django_workflow.engine.routing.expansion import condition_holds, expand, max_parallel
from django_workflow.engine.routing.facts import OUTERMOST, Activation, Error, StepEnd, error_of
from django_workflow.engine.routing.routing import MISTAKES, Routing
from django_workflow.statuses import FAILED, SKIPPED, SUCCEEDED

CONDITION_UNMET = "condition_unmet"
DEPENDENCY_SKIPPED = "dependency_skipped"


def activate(
    routing: Routing,
    step: StepSpec,
    *,
    scope: int = OUTERMOST,
    source: int | None = None,
    variables: int | None = None,
    is_cascade: bool = False,
    delay: float = 0.0,
    own: int | None = None,
    iteration: int | None = None,
    is_woken: bool = False,
) -> None:
    """Start a step, or settle it at once: skipped, an empty map, or failed before it began."""
    if iteration is None:
        iteration = next_iteration(routing, step.name, scope)
    activation = Activation(
        step, id=routing.state.new_step_run() if own is None else own, is_woken=is_woken, scope=scope,
        iteration=iteration, source=source or None, variables=variables, delay=delay,
    )  # fmt: skip
    if iteration > routing.facts.max_iterations:
        limit = f"MAX_ITERATIONS is {routing.facts.max_iterations:,}"
        message = f"{limit}; step {step.name!r} would begin for the {iteration:,}th time"
        ending.fail_run(routing, error_of(step.name, "LimitExceeded", message))
        return
    if not routing.spec.is_bounded and routing.decision.task_count >= routing.facts.max_tasks:
        ending.fail_run(routing, _too_many_tasks(routing, step, routing.decision.task_count + 1))
        return
    if is_cascade:
        _settle_at_once(routing, activation, SKIPPED, DEPENDENCY_SKIPPED, is_cascade=True)
        return
    try:
        if not condition_holds(routing.context, step, scope, variables):
            _unmet(routing, activation)
            return
        items, count = expand(routing.context, step, scope, variables)
        activation.max_parallel = max_parallel(routing.context, step, scope, variables)
        if step.delay is not None:
            names = routing.context.names(scope, variables)
            activation.delay += seconds(step.delay, f"delay of step {step.name!r}", names, routing.language)
    except MISTAKES as error:
        failure = error_of(step.name, type(error).__name__, error.message)
        _settle_at_once(routing, activation, FAILED, error=failure)
        # an error of the definition is never handled by a transition: it is not an outcome of the step
        ending.fail_run(routing, failure)
        return
    if step.kind == MAP and count == 0:
        _settle_at_once(routing, activation, SUCCEEDED)
        return
    if not _fits(routing, activation, count):
        return
    routing.decision.open_steps += 1
    activation.items, activation.task_count = items, count
    routing.decision.activations.append(activation)


def _fits(routing: Routing, activation: Activation, count: int) -> bool:
    """Count tasks where they may become many; beyond the limit the run fails and nothing is made."""
    step = activation.step
    if step.kind != MAP and routing.spec.is_bounded:
        return True
    total = routing.decision.task_count + count
    if total > routing.facts.max_tasks:
        failure = _too_many_tasks(routing, step, total)
        _settle_at_once(routing, activation, FAILED, error=failure)
        ending.fail_run(routing, failure)
        return False
    routing.decision.task_count = total
    return True


def _too_many_tasks(routing: Routing, step: StepSpec, total: int) -> Error:
    limit = f"MAX_TASKS is {routing.facts.max_tasks:,}"
    message = f"{limit}; step {step.name!r} would bring the run to {total:,} tasks"
    return error_of(step.name, "LimitExceeded", message)


def _unmet(routing: Routing, activation: Activation) -> None:
    """A false condition: skip, skip what follows too, or fail."""
    step = activation.step
    if step.on_unmet == "fail":
        failure = error_of(step.name, "ConditionUnmet", f"the condition {step.when} is not met")
        _settle_at_once(routing, activation, FAILED, CONDITION_UNMET, error=failure)
    else:
        _settle_at_once(routing, activation, SKIPPED, CONDITION_UNMET, is_cascade=step.on_unmet == "skip_cascade")


def _settle_at_once(
    routing: Routing,
    activation: Activation,
    status: str,
    reason: str = "",
    *,
    is_cascade: bool = False,
    error: Error | None = None,
) -> None:
    if not routing.spec.is_bounded:
        # where steps multiply, one that is skipped counts as a task: it may lead on to any number of others
        routing.decision.task_count += 1
    activation.status, activation.reason, activation.error = status, reason, error
    routing.context.settle(activation)
    routing.decision.activations.append(activation)
    routing.pending.append(
        StepEnd(
            activation.step.name, status, is_cascade, error, activation.id, activation.scope,
            activation.iteration, activation.variables,
        )
    )  # fmt: skip


def last_iteration(routing: Routing, step: str, scope: int) -> int:
    """Return how often a step was activated in a scope, by this decision, too."""
    key = (step, scope)
    if key not in routing.iterations:
        routing.iterations[key] = routing.state.last_iteration(step, scope)
    return routing.iterations[key]


def next_iteration(routing: Routing, step: str, scope: int) -> int:
    """Count an activation of a step in its scope; most steps have one and need no look at the run."""
    if step not in routing.spec.repeating and step not in routing.spec.splits:
        return 1
    last = last_iteration(routing, step, scope)
    routing.iterations[step, scope] = last + 1
    return last + 1
