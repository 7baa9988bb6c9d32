"""What a handler receives: values wired by parameter name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_workflow.definition.registry import Handler


def wire(
    handler: Handler, values: Mapping[str, Any], *, skipped: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """Return the keyword arguments of one call.

    handler: the function and its parameters.
    values: what there is, by parameter name: input, item, index, ctx, and the dependencies' outputs.
    skipped: dependencies that gave nothing; they arrive as the parameter's default, else as None. So
        does a parameter that the run's version does not know, which a deploy may have added.
    """
    arguments = {}
    for name in handler.params:
        if name in values and name not in skipped:
            arguments[name] = values[name]
        elif name not in handler.defaults:
            arguments[name] = None
    return arguments
