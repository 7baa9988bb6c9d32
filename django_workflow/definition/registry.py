"""What this process has code for: flows, handlers and callables, by name.

The database names handlers; only this registry turns a name into code, so a row can never make a
worker import something.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django_workflow.definition import places
from django_workflow.definition.places import Place
from django_workflow.definition.problems import Problem
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import DefinitionError, UnknownFlow, UnregisteredHandler

F = TypeVar("F", bound=Callable[..., Any])


class DeclaredFlow(Protocol):
    """What is known of a flow in code, of whatever kind it is."""

    @property
    def slug(self) -> str:
        """Its name."""

    @property
    def spec(self) -> FlowSpec:
        """Its definition; raises `DefinitionError`."""

    @property
    def on_failure(self) -> tuple[Callable[..., Any], ...]:
        """What is called when a run of it failed."""

    def place_of(self, step: str | None) -> Place | None:
        """Return where the code of a step stands, else that of the flow."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function and what the engine needs to know about its signature.

    takes_any: it has `**kwargs`, so it receives every argument of its step.
    positional: parameters that cannot be given by name.
    atomic, executor: what its flow in code says of it now, which the version of an older run does not know.
    """

    name: str
    function: Callable[..., Any]
    params: tuple[str, ...]
    defaults: dict[str, Any]
    is_async: bool
    takes_any: bool = False
    atomic: bool = False
    executor: str | None = None
    positional: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, function: Callable[..., Any], *, atomic: bool = False, executor: str | None = None
    ) -> Handler:
        """Read `function`'s signature."""
        every = list(inspect.signature(function).parameters.values())
        params = [item for item in every if item.kind not in _RECEIVE_NOTHING]
        defaults = {item.name: item.default for item in params if item.default is not inspect.Parameter.empty}
        call = getattr(function, "__call__", function)  # noqa: B004  a callable object may be async
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        takes_any = any(item.kind is item.VAR_KEYWORD for item in every)
        names = tuple(item.name for item in params)
        positional = tuple(item.name for item in params if item.kind is item.POSITIONAL_ONLY)
        return cls(name, function, names, defaults, is_async, takes_any, atomic and not is_async, executor, positional)


#: Parameters that no argument is given to: `*args` and `**kwargs`.
_RECEIVE_NOTHING = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters that can be passed by name; `*args` and `**kwargs` receive nothing."""
    return [item for item in inspect.signature(function).parameters.values() if item.kind not in _RECEIVE_NOTHING]


class Registry:
    """Names to code, for one process; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, Handler] = {}
        self._callables: dict[str, Callable[..., Any]] = {}
        self._flows: dict[str, DeclaredFlow] = {}
        self._places: dict[tuple[str, str], tuple[Place, bool]] = {}
        #: Whether apps are still being set up: whatever is registered then is so in every process.
        self.is_starting: Callable[[], bool] = lambda: False

    def add_flow(self, flow: DeclaredFlow) -> None:
        """Make a declared flow known by its slug.

        Raises `DefinitionError` where another module declares one of this slug: workers would execute the other's
        handlers. What is declared in a function, as in a test, is replaced by a later declaration.
        """
        with self._lock:
            self._note("flow", flow.slug, places.of_caller(is_starting=self.is_starting()))
            self._flows[flow.slug] = flow

    def place_of(self, slug: str) -> Place | None:
        """Return where a flow is declared, None where this process does not know it."""
        known = self._places.get(("flow", slug))
        return known[0] if known is not None and slug in self._flows else None

    def _note(self, kind: str, name: str, place: Place, *, of_flow: bool = False) -> None:
        """Note where something is registered; raises `DefinitionError` where something else has that name.

        of_flow: named by a flow and its step, whose own names are judged as such.
        """
        if (known := self._places.get((kind, name))) is not None:
            earlier, was_of_flow = known
            if not (of_flow and was_of_flow) and earlier.collides_with(place):
                message = f"{kind} {name!r} is declared twice: {earlier}, and {place}; give one of them another name"
                raise DefinitionError([Problem("name_taken", (), message, place="")])
        self._places[kind, name] = place, of_flow

    def flow(self, slug: str) -> Any:
        """Return the declared flow `slug`, else raise `UnknownFlow`."""
        try:
            return self._flows[slug]
        except KeyError:
            known = ", ".join(sorted(self._flows)) or "none"
            raise UnknownFlow(
                f"No flow {slug!r} is declared in this process (known: {known}). "
                "Flows live in the module workflows.py of an installed app."
            ) from None

    def find_flow(self, slug: str) -> DeclaredFlow | None:
        """Return the declared flow `slug`, None where this process does not know it."""
        return self._flows.get(slug)

    def flows(self) -> list[DeclaredFlow]:
        """Return all declared flows, by slug."""
        return [self._flows[slug] for slug in sorted(self._flows)]

    def specs(self) -> list[FlowSpec]:
        """Return the definitions of all declared flows that are valid, by slug."""
        valid = []
        for flow in self.flows():
            with suppress(DefinitionError):
                valid.append(flow.spec)
        return valid

    def invalid(self) -> list[tuple[DeclaredFlow, DefinitionError]]:
        """Return the declared flows that are not valid, each with what is wrong with it."""
        invalid = []
        for flow in self.flows():
            try:
                _ = flow.spec
            except DefinitionError as error:
                invalid.append((flow, error))
        return invalid

    def add_handler(
        self, name: str, function: Callable[..., Any], *, of_flow: bool = False, **declared: Any
    ) -> Handler:
        """Register `function` as handler `name` and return its entry; `declared` as for `Handler.of`.

        of_flow: it is the function of a flow's step. Raises `DefinitionError` where another module has this name.
        """
        handler = Handler.of(name, function, **declared)
        with self._lock:
            self._note("handler", name, places.of_function(function, is_starting=self.is_starting()), of_flow=of_flow)
            self._handlers[name] = handler
        return handler

    def handler(self, name: str) -> Handler | None:
        """Return the handler `name`, or None where this process has no code for it."""
        return self._handlers.get(name)

    def handler_names(self) -> list[str]:
        """Return the names of all handlers."""
        with self._lock:
            return sorted(self._handlers)

    def name_of(self, function: Callable[..., Any]) -> str | None:
        """Return the name under which `function` is registered as a handler, or None."""
        return next((name for name, item in self._handlers.items() if item.function is function), None)

    def add_callable(self, name: str, function: Callable[..., Any], *, of_flow: bool = False) -> None:
        """Register a condition or retry strategy; it must be pure and not use the database.

        of_flow: as of `add_handler`, which it raises the same as.
        """
        with self._lock:
            self._note("condition", name, places.of_function(function, is_starting=self.is_starting()), of_flow=of_flow)
            self._callables[name] = function

    def callable_names(self) -> list[str]:
        """Return the names of all conditions and strategies."""
        with self._lock:
            return sorted(self._callables)

    def has_callable(self, name: str) -> bool:
        """Say whether a condition or strategy `name` is registered."""
        return name in self._callables

    def callable(self, name: str) -> Callable[..., Any]:
        """Return the condition or strategy `name`, else raise `UnregisteredHandler`."""
        try:
            return self._callables[name]
        except KeyError:
            raise UnregisteredHandler(f"No callable {name!r} is registered in this process.") from None

    def knows(self, handler: str, callables: tuple[str, ...]) -> bool:
        """Say whether this process has code for `handler` and all of `callables`."""
        return handler in self._handlers and all(name in self._callables for name in callables)

    def steps_declared(self, slug: str) -> frozenset[str]:
        """Return the steps that a flow in code has now, none where this process does not know it."""
        try:
            return frozenset(self._flows[slug].spec.steps) if slug in self._flows else frozenset()
        except DefinitionError:
            return frozenset()


registry = Registry()


def handler(name: str) -> Callable[[F], F]:
    """Register the decorated function under `name`, for flows that are stored as data.

    name: what a stored step's `handler` says.
    Returns the function unchanged.
    """

    def register(function: F) -> F:
        registry.add_handler(name, function)
        return function

    return register


def condition(name: str) -> Callable[[F], F]:
    """Register the decorated function as a condition or retry strategy that stored flows may name."""

    def register(function: F) -> F:
        registry.add_callable(name, function)
        return function

    return register
