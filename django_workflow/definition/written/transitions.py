"""What a flow's author writes in `next=`: `When`, `To`, `Otherwise`, and their compilation to transitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from django_workflow.definition.elements import Assignment, Condition, TransitionSpec
from django_workflow.definition.registry import registry

#: What `on=` may say.
On = Literal["succeeded", "failed", "skipped", "always"]
#: The outcomes it stands for.
OUTCOMES: Mapping[str, tuple[str, ...]] = {
    "succeeded": ("succeeded",),
    "failed": ("failed",),
    "skipped": ("skipped",),
    "always": ("succeeded", "failed", "skipped"),
}

Targets = str | Sequence[str]
Delay = timedelta | str | None


@dataclass(frozen=True)
class To:
    """A transition that fires whatever else does.

    to: a step or a command (`noop`, `continue`, `retry`, `fail`), or several of them.
    on: the outcome: "succeeded", "failed", "skipped" or "always".
    publish: variables to set, by name: text is an expression over `result`, `status`, `error`, `vars`, `input`,
    `outputs` and `iteration`, anything else the value itself; each sees the earlier ones.
    merge: the same, where objects are merged into those that are there, at every depth.
    delay: how long the target waits, a timedelta or an expression that gives seconds.
    """

    to: Targets
    on: On = "succeeded"
    publish: Mapping[str, Any] | None = None
    merge: Mapping[str, Any] | None = None
    delay: Delay = None


@dataclass(frozen=True)
class When:
    """A transition that fires where a condition holds.

    when: an expression over what `publish` sees (see `To`), or a function whose parameters name these.
    Further options as for `To`.
    """

    when: str | Callable[..., bool]
    to: Targets
    on: On = "succeeded"
    publish: Mapping[str, Any] | None = None
    merge: Mapping[str, Any] | None = None
    delay: Delay = None


@dataclass(frozen=True)
class Otherwise:
    """A transition that fires where no other one for that outcome did; options as for `To`."""

    to: Targets
    on: On = "succeeded"
    publish: Mapping[str, Any] | None = None
    merge: Mapping[str, Any] | None = None
    delay: Delay = None


Transition = To | When | Otherwise


def transitions_of(following: Any) -> list[Any]:
    """Return what `next=` says as a list of transitions; a name alone is one on success."""
    if isinstance(following, Mapping):
        raise TypeError("transitions are a list")
    items = [following] if isinstance(following, str | Transition) else list(following or ())
    return [To(item) if isinstance(item, str) else item for item in items]


def targets(item: Transition) -> tuple[str, ...]:
    """Return where a transition leads."""
    return (item.to,) if isinstance(item.to, str) else tuple(item.to)


def targets_of(following: Any) -> set[str]:
    """Return every step and command that a `next=` names, as far as it can be read."""
    try:
        return {name for item in transitions_of(following) if isinstance(item, Transition) for name in targets(item)}
    except TypeError:
        return set()


def compile_transitions(slug: str, step: str, following: Any) -> Iterable[TransitionSpec]:
    """Yield the transitions of a step, in the order of `next=`; conditions in code are registered by their place."""
    for place, item in enumerate(transitions_of(following)):
        yield TransitionSpec(
            step,
            targets(item),
            OUTCOMES[item.on],
            compile_condition(f"{slug}.{step}.next.{place}", item.when) if isinstance(item, When) else None,
            (*assignments(item.publish), *assignments(item.merge, is_merge=True)),
            seconds(item.delay),
            isinstance(item, Otherwise),
        )


def assignments(values: Mapping[str, Any] | None, *, is_merge: bool = False) -> tuple[Assignment, ...]:
    """Return names and values in their order."""
    return tuple(Assignment(name, value, is_merge) for name, value in (values or {}).items())


def seconds(delay: Delay | float) -> float | str | None:
    """Return a delay as seconds or as the expression that gives them."""
    return delay.total_seconds() if isinstance(delay, timedelta) else delay


def compile_condition(name: str, when: Any) -> Condition | None:
    """Return a condition; a function is registered under `name`."""
    if when is None or isinstance(when, Condition):
        return when
    if callable(when):
        registry.add_callable(name, when, of_flow=True)
        return Condition(callable=name)
    return Condition(expression=when)
