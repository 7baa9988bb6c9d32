"""The options of steps and their types: what editors offer, what type checkers refuse, and which names there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal, Required, TypedDict

from django_workflow.definition.retry import Retry
from django_workflow.definition.written.transitions import Transition

OnUnmet = Literal["skip", "skip_cascade", "fail"]
OnExhausted = Literal["fail", "skip", "skip_cascade"]
Match = Literal["all", "first"]
Join = Literal["all"] | int | None
#: Where a step leads: a step or a command by name, a transition, or several of them.
Next = Transition | Iterable[str | Transition] | None
#: In expressions over `input`, `outputs` and `vars`.
Delay = timedelta | str | None


class CommonOptions(TypedDict, total=False):
    """What steps declared in code and stored ones have alike; None is the same as leaving an option out, but of `join`.

    `Flow.step` says what each means.
    """

    title: str
    on_unmet: OnUnmet | None
    on_exhausted: OnExhausted | None
    retry: Retry | None
    timeout: timedelta | None
    queue: str | None
    executor: str | None
    resources: Mapping[str, float] | None
    atomic: bool
    next: Next
    match: Match
    join: Join
    delay: Delay
    arguments: Mapping[str, Any] | None


class StepOptions(CommonOptions, total=False):
    """Options of `Flow.step`."""

    name: str
    depends_on: Iterable[str] | None
    when: str | Callable[..., Any] | None


class MapOptions(StepOptions, total=False):
    """Options of `Flow.map`."""

    over: str
    count: int
    max_parallel: int | None
    tolerate: float | None


class StoredStepOptions(CommonOptions, total=False):
    """Options of `FlowBuilder.add_step`: functions are named, not given."""

    handler: str
    when: str | Mapping[str, str] | None


class StoredMapOptions(StoredStepOptions, total=False):
    """Options of `FlowBuilder.add_map_step`."""

    max_parallel: int | None
    tolerate: float | None


class StoredStep(StoredMapOptions, total=False):
    """A step as `FlowBuilder.add_steps` takes it: a dictionary of what `add_step` or `add_map_step` takes.

    It is a map step where it has `over` or `count`.
    """

    name: Required[str]
    depends_on: Iterable[str]
    over: str
    count: int
