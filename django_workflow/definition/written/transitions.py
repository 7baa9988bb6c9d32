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
    """A way on, whatever else fires.

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
    """A way on where a condition holds.

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
    """A way on where no other one for that outcome fired; options as for `To`."""

    to: Targets
    on: On = "succeeded"
    publish: Mapping[str, Any] | None = None
    merge: Mapping[str, Any] | None = None
    delay: Delay = None


Way = To | When | Otherwise


def ways(following: Any) -> list[Any]:
    """Return what `next=` says as a list of ways; a name alone is a way on success."""
    if isinstance(following, Mapping):
        raise TypeError("ways are a list")
    items = [following] if isinstance(following, str | Way) else list(following or ())
    return [To(item) if isinstance(item, str) else item for item in items]


def targets(way: Way) -> tuple[str, ...]:
    """Return where a way leads."""
    return (way.to,) if isinstance(way.to, str) else tuple(way.to)


def targets_of(following: Any) -> set[str]:
    """Return every step and command that a `next=` names, as far as it can be read."""
    try:
        return {name for way in ways(following) if isinstance(way, Way) for name in targets(way)}
    except TypeError:
        return set()


def compile_ways(slug: str, step: str, following: Any) -> Iterable[TransitionSpec]:
    """Yield the transitions of a step, in the order of its ways; conditions in code are registered by their place."""
    for place, way in enumerate(ways(following)):
        yield TransitionSpec(
            step,
            targets(way),
            OUTCOMES[way.on],
            compile_condition(f"{slug}.{step}.next.{place}", way.when) if isinstance(way, When) else None,
            (*assignments(way.publish), *assignments(way.merge, is_merge=True)),
            seconds(way.delay),
            isinstance(way, Otherwise),
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
