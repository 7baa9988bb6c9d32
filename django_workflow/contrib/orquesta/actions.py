"""What the tasks of an Orquesta document do: functions by the names of actions."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from django_workflow.definition.registry import parameters

Action = Callable[..., Any]


class ActionFailed(Exception):
    """An action failed with a result: what `result()` gives where the document handles the failure.

    result: any JSON value; as text it may have 2,000 characters.
    """

    def __init__(self, result: Any = None) -> None:
        self.result = result
        super().__init__(json.dumps(result))


class Actions(Protocol):
    """Functions by the names of actions: a dictionary, or whatever answers as one when it is asked for a name."""

    def __contains__(self, name: str, /) -> bool:
        """Say whether there is an action."""

    def __getitem__(self, name: str, /) -> Action:
        """Return the function of an action."""


def handler_of(function: Action) -> Action:
    """Return what a worker calls: the action with the values that the task gives it."""
    if is_coroutine(function):

        async def arun(inputs: Any, ctx: Any) -> Any:
            return await function(**arguments_of(function, inputs, ctx))

        return arun

    def run(inputs: Any, ctx: Any) -> Any:
        return function(**arguments_of(function, inputs, ctx))

    return run


def is_coroutine(function: Action) -> bool:
    """Say whether an action is called as a coroutine."""
    call = getattr(function, "__call__", function)  # noqa: B004  a callable object may be async
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def arguments_of(function: Action, inputs: Any, ctx: Any) -> dict[str, Any]:
    """Return the keyword arguments of an action: the task's input, and `ctx` where the action names it."""
    inputs = {} if inputs is None else inputs
    if not isinstance(inputs, Mapping):
        raise TypeError(f"The input of task {ctx.step!r} must be an object with values by name, not {inputs!r}.")
    return {**({"ctx": ctx} if _names_ctx(function) else {}), **inputs}


def _names_ctx(function: Action) -> bool:
    try:
        return any(item.name == "ctx" for item in parameters(function))
    except (TypeError, ValueError):
        return False  # a function written in C whose parameters nobody can read


def noop(**inputs: Any) -> None:
    """Do nothing: what a task without an action does."""
