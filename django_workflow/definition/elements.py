"""The elements of a definition: steps, what leads from one to another, conditions, assignments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, Literal

from django_workflow.definition.names import COMMANDS, CONTEXT_NAMES

SINGLE: Final = "single"
MAP: Final = "map"
JOIN_ALL: Final = "all"
MATCH_ALL: Final = "all"
MATCH_FIRST: Final = "first"
#: Outcomes on which a plain dependency leads on: a skipped step does not stop its dependents.
DEPENDENCY_OUTCOMES: Final = ("succeeded", "skipped")
#: No delay, timeout or life of a run is longer: what adds up stays a time that a database and Python can tell.
LONGEST_TIME: Final = timedelta(days=365)
#: A retry strategy that is a registered callable is stored under its name behind this prefix.
CALLABLE_PREFIX: Final = "callable:"
#: What a process needs for flows whose expressions are in another language, as the name of a callable.
LANGUAGE_PREFIX: Final = "language:"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a step or a transition: an expression, or the name of a registered callable."""

    expression: str | None = None
    callable: str | None = None

    def __str__(self) -> str:
        return self.expression if self.expression is not None else f"{self.callable}()"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A name and its value: text is an expression, anything else the value itself. Of several, each sees the earlier.

    is_merge: an object is merged into the one that is there, at every depth.
    """

    name: str
    value: Any
    is_merge: bool = False


@dataclass(frozen=True, slots=True)
class TransitionSpec:
    """What leads on: when `source` ends with one of the outcomes `on` and `when` holds, each of `to` is reached.

    to: steps and commands. publish: in order, for these targets only.
    delay: seconds, or an expression that gives them. is_otherwise: only when no other one for that outcome fired.
    """

    source: str
    to: tuple[str, ...]
    on: tuple[str, ...] = DEPENDENCY_OUTCOMES
    when: Condition | None = None
    publish: tuple[Assignment, ...] = ()
    delay: float | str | None = None
    is_otherwise: bool = False

    @property
    def steps(self) -> tuple[str, ...]:
        """The targets that are steps."""
        return tuple(name for name in self.to if name not in COMMANDS)

    @property
    def callables(self) -> tuple[str, ...]:
        """Names of the registered callables its condition needs."""
        return (self.when.callable,) if self.when is not None and self.when.callable else ()

    @property
    def is_dependency(self) -> bool:
        """Whether it says no more than that a step waits for another."""
        return self.on == DEPENDENCY_OUTCOMES and not (
            self.when or self.publish or self.delay is not None or self.is_otherwise or len(self.to) != 1
        )


@dataclass(frozen=True, slots=True)
class Edge:
    """A step that leads to another, and the transition by which it does."""

    source: str
    to: str
    transition: TransitionSpec


@dataclass(frozen=True)
class StepSpec:
    """A node of the graph; None means: inherit from the flow, then from the settings.

    over: a path to a list; in a flow of another language an expression of that language.
    item_names: how such a flow calls the parts of an item.
    arguments: what the handler receives besides, by parameter: expressions, or values as they are.
    delay: seconds between the beginning of a step run and its tasks, or an expression that gives them.
    resources: what one attempt needs of its executor, by name, such as {"GPU": 1}.
    retry_when: an expression that asks for another attempt, also after a success, while attempts are left.
    In a flow of another language `max_parallel` and the numbers of `retry` may be expressions, too.
    """

    name: str
    handler: str
    kind: str = SINGLE
    params: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    join: Literal["all"] | int | None = None
    over: str | None = None
    count: int | None = None
    max_parallel: int | str | None = None
    tolerate: float | None = None
    item_names: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    match: str = MATCH_ALL
    delay: float | str | None = None
    when: Condition | None = None
    on_unmet: str = "skip"
    on_exhausted: str = "fail"
    retry: Mapping[str, Any] = field(default_factory=dict)
    retry_when: str | None = None
    timeout: float | None = None
    queue: str | None = None
    executor: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    atomic: bool = False
    title: str = ""

    @cached_property
    def over_path(self) -> tuple[str, ...]:
        """The parts of `over`: the source, then the keys into its value."""
        return tuple(self.over.split(".")) if self.over else ()

    @property
    def may_read_variables(self) -> bool:
        """Whether it may depend on variables if and how it starts."""
        return self.when is not None or isinstance(self.delay, str) or self.over_path[:1] == ("vars",)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The steps whose outputs its handler takes by name."""
        return tuple(name for name in self.params if name not in CONTEXT_NAMES and name not in self.arguments)

    @property
    def may_cascade(self) -> bool:
        """Whether its skip may skip those that depend on it."""
        return self.on_exhausted == "skip_cascade" or (self.when is not None and self.on_unmet == "skip_cascade")

    @property
    def conditions(self) -> tuple[str, ...]:
        """Names of the registered callables without which nobody can decide how it begins."""
        return (self.when.callable,) if self.when is not None and self.when.callable else ()

    @cached_property
    def callables(self) -> tuple[str, ...]:
        """Names of the registered callables it uses besides its handler: its condition, its retry strategy."""
        names = list(self.conditions)
        strategy = self.retry.get("strategy")
        if isinstance(strategy, str) and strategy.startswith(CALLABLE_PREFIX):
            names.append(strategy.removeprefix(CALLABLE_PREFIX))
        return tuple(names)
