"""What a handler receives: values wired by parameter name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_workflow.definition.registry import Handler


def wire(
    handler: Handler,
    values: Mapping[str, Any],
    *,
    skipped: frozenset[str] | set[str] = frozenset(),
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the keyword arguments of one call.

    handler: the function and its parameters.
    values: what there is, by parameter name: input, item, index, ctx, and the dependencies' outputs.
    skipped: dependencies that gave nothing; they arrive as the parameter's default, else as None. So
        does a parameter that the run's version does not know, which a deploy may have added.
    given: the step's own arguments; those that are no parameters go to a handler that takes any.
    """
    given = given or {}
    arguments = dict(given) if handler.takes_any else {}
    for name in handler.params:
        if name in given:
            arguments[name] = given[name]
        elif name in values and name not in skipped:
            arguments[name] = values[name]
        elif name not in handler.defaults:
            arguments[name] = None
    return arguments
