"""How a step begins: whether its condition holds, how many tasks it gets, how many of them at once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.engine.routing.evaluation import EvaluationContext, evaluated
from django_workflow.exceptions import ExpressionError, TypeViolation


def condition_holds(context: EvaluationContext, step: StepSpec, scope: int, variables: int | None) -> bool:
    """Say whether a step's condition holds; it is never silently false: a mistake ends the run with its words."""
    condition = step.when
    if condition is None:
        return True
    names = context.names(scope, variables)
    return evaluated(f"condition of step {step.name!r}", names, lambda: context.language.holds(condition, names))


def expand(
    context: EvaluationContext, step: StepSpec, scope: int, variables: int | None
) -> tuple[Sequence[Any] | None, int]:
    """Return a step's items and how many tasks it gets."""
    if step.kind != MAP:
        return None, 1
    if step.count is not None:
        return None, step.count
    if context.spec.dialect.maps_over_expressions:
        names = context.names(scope, variables)
        value = evaluated(f"items of step {step.name!r}", names, lambda: context.language.value(step.over, names))
        return _as_items(step, step.over, value)
    source, *keys = step.over_path
    outputs = context.outputs(scope)
    if source == "input":
        value = context.facts.input
    elif source == "vars":
        value = context.branches.variables(variables).values
    elif source in outputs:
        value = outputs[source]
    else:
        return [], 0  # a skipped source maps to []
    for depth, key in enumerate(keys, start=1):
        if not isinstance(value, Mapping) or key not in value:
            path = ".".join(step.over_path[: depth + 1])
            raise TypeViolation(
                f"step {step.name!r} maps over {step.over!r}, but {source!r} gave no {path!r} "
                f"({type(value).__name__} found)"
            )
        value = value[key]
    return _as_items(step, source, value)


def _as_items(step: StepSpec, source: Any, value: Any) -> tuple[Sequence[Any], int]:
    if not isinstance(value, list):
        raise TypeViolation(
            f"step {step.name!r} maps over {step.over!r}, which needs a list from {source!r}; "
            f"{type(value).__name__} found"
        )
    return value, len(value)


def max_parallel(context: EvaluationContext, step: StepSpec, scope: int, variables: int | None) -> int | None:
    """Return how many tasks of a map may be in flight; text is an expression of another language."""
    if not isinstance(step.max_parallel, str):
        return step.max_parallel
    names, place = context.names(scope, variables), f"concurrency of step {step.name!r}"
    value = evaluated(place, names, lambda: context.language.value(step.max_parallel, names))
    if isinstance(value, bool) or not isinstance(value, int):
        raise ExpressionError(f"{place}: a whole number is needed, not {value!r}", expression=step.max_parallel)
    return max(1, value)
