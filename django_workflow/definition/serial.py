"""The elements of a definition as JSON-able data, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from django_workflow.definition.elements import Assignment, Condition, StepSpec, TransitionSpec


def transition_to_dict(item: TransitionSpec) -> dict[str, Any]:
    """Return a transition as JSON-able data."""
    data: dict[str, Any] = {"source": item.source, "to": list(item.to), "on": list(item.on)}
    data |= without_defaults(item, skip=("source", "to", "on", "publish"))
    if item.when is not None:
        data["when"] = without_defaults(item.when)
    if item.publish:
        data["publish"] = assignments(item.publish)
    return data


def assignments(items: Iterable[Assignment]) -> list[dict[str, Any]]:
    """Return assignments as JSON-able data, in order."""
    return [{"name": item.name, "value": item.value, **({"is_merge": True} if item.is_merge else {})} for item in items]


def read_assignments(data: Iterable[Mapping[str, Any]]) -> tuple[Assignment, ...]:
    """Read what `assignments` gave."""
    return tuple(Assignment(**item) for item in data)


def transition_from_dict(data: Mapping[str, Any]) -> TransitionSpec:
    """Read what `transition_to_dict` gave."""
    values = dict(data)
    for name in ("to", "on"):
        values[name] = tuple(values[name])
    values["publish"] = read_assignments(values.get("publish", ()))
    if values.get("when") is not None:
        values["when"] = Condition(**values["when"])
    return TransitionSpec(**values)


def step_to_dict(step: StepSpec) -> dict[str, Any]:
    """Return a step as JSON-able data."""
    data = without_defaults(step)
    if step.when is not None:
        data["when"] = without_defaults(step.when)
    return data


def step_from_dict(data: Mapping[str, Any]) -> StepSpec:
    """Read what `step_to_dict` gave."""
    values = dict(data)
    for name in ("params", "depends_on", "item_names"):
        values[name] = tuple(values.get(name, ()))
    if values.get("when") is not None:
        values["when"] = Condition(**values["when"])
    return StepSpec(**values)


def without_defaults(item: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a dataclass's fields that differ from an empty value of theirs, tuples as lists."""
    data = {}
    kind: Any = type(item)
    for name, default in _defaults(kind):
        value = getattr(item, name)
        if name in skip or value == default or value in ((), {}):
            continue
        data[name] = list(value) if isinstance(value, tuple) else value
    return data


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a dataclass with their defaults, which thousands of steps and transitions ask for."""
    return tuple((item.name, item.default) for item in fields(kind))
