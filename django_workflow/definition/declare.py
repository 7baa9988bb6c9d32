"""Declaring a flow in code: `@flow.step`, `@flow.map`, and their compilation to a `FlowSpec`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

from django_workflow.definition import elements, places, spec
from django_workflow.definition.compile import compile_flow, wire
from django_workflow.definition.places import Place
from django_workflow.definition.problems import Problem
from django_workflow.definition.registry import registry
from django_workflow.definition.retry import Retry
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.written import times
from django_workflow.definition.written.options import MapOptions, StepOptions
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.text import plain

#: What is called when a run failed: one function, several, or none.
OnFailure = Callable[..., Any] | Iterable[Callable[..., Any]] | None
G = TypeVar("G", bound=Callable[..., Any])


class Decorator(Protocol):
    """Returns the function that it is given."""

    def __call__(self, fn: G, /) -> G:
        """Declare the function as a step."""


if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault  # type checkers bring it; nobody else needs it

    # one signature for a decorator with and without a call: of an overload type checkers say less of what is wrong
    F = TypeVarWithDefault("F", bound=Callable[..., Any], default=Decorator)
else:
    F = TypeVar("F", bound=Callable[..., Any])


class FlowDeclaration:
    """What a flow's author says: options of the flow and its steps, in order.

    slug: the flow's name.
    title: shown to people.
    max_duration: the longest life of a run.
    max_tasks: most tasks of a run. max_iterations: how often a run may activate one step.
    entry: the steps a run begins with, by default those that nothing leads to.
    vars: the variables a run begins with; output: what it gives instead of the outputs of its leaves. Both by
    name: text is an expression over `input`, `vars` and, for the output, `outputs`; anything else the value itself.
    input_schema: a JSON Schema that inputs have to fit; without one a run takes any JSON value.
    retry, timeout, queue, executor: defaults of its steps.
    on_failure: a function, or several, called by name with `sender`, the flow, `run` and `signal` after a run of it
    ended failed or timed out, as a receiver of `run_failed` is; at most once. It may be a coroutine. The database knows
    nothing of it.
    """

    def __init__(
        self,
        slug: str,
        *,
        title: str = "",
        max_duration: timedelta | None = None,
        max_tasks: int | None = None,
        max_iterations: int | None = None,
        entry: Iterable[str] | None = None,
        vars: Mapping[str, Any] | None = None,
        output: Mapping[str, Any] | None = None,
        input_schema: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        queue: str | None = None,
        executor: str | None = None,
        on_failure: OnFailure = None,
    ) -> None:
        self.slug = exact(slug)
        self.on_failure, problems = functions(on_failure)
        self.options = FlowOptions(
            title=title, max_duration=max_duration, max_tasks=max_tasks, max_iterations=max_iterations,
            entry=as_list(entry),
            vars=vars, output=output, input_schema=input_schema,
        )  # fmt: skip
        self.defaults = {"retry": retry, "timeout": timeout, "queue": queue, "executor": executor}
        self.drafts: list[StepDraft] = []
        self.problems = [*problems, *times.given_as_numbers(self.defaults)]
        self._compiled: spec.FlowSpec | None = None
        self._places: dict[str, Place | None] | None = None
        registry.add_flow(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.slug}: {', '.join(draft.name for draft in self.drafts) or 'no steps'}>"

    @property
    def title(self) -> str:
        """What people call it."""
        return self.options.title

    def step(self, fn: F | None = None, /, **options: Unpack[StepOptions]) -> F:
        """Declare the decorated function as a step; the function itself stays a plain function.

        name: the step's name, by default the function's. title: shown to people.
        depends_on: further dependencies beside the steps that parameters name.
        when, on_unmet: a condition, and what happens where it is false: "skip", "skip_cascade" or "fail".
        on_exhausted: what happens when no attempt is left: "fail", "skip" or "skip_cascade".
        retry, timeout, queue, executor: else the flow's, else the settings'.
        resources: what one attempt needs of an engine of the site's own, by name, such as {"GPU": 1}.
        atomic: run handler and bookkeeping in one transaction of the site's database.
        next: where it leads: steps by name, `When`, `To` and `Otherwise`, in order; match: "all" that hold fire, or
        only the "first".
        join: how many predecessors start it: "all", a number, or None, which is each one that arrives. A step with
        dependencies has "all", others None.
        delay: how long its tasks wait after it was reached, a timedelta or an expression that gives seconds.
        arguments: what the function receives besides, by parameter: text is an expression over `input`, `vars`,
        `outputs`, `iteration` and, in a map, `item` and `index`; anything else the value itself.
        """
        declared: F = self._declare(fn, elements.SINGLE, {**options})
        return declared

    def map(self, fn: F | None = None, /, **options: Unpack[MapOptions]) -> F:
        """Declare the decorated function as a map step: one task per element of a list.

        over: a path to the list, "step", "step.key", "input", "input.key" or "vars.name"; or
        count: a number of tasks, which receive their index only.
        max_parallel: most items in flight at once.
        tolerate: how many items (or which share below 1) may fail; their place holds None.
        Further options as for `step`.
        """
        declared: F = self._declare(fn, elements.MAP, {**options})
        return declared

    def _declare(self, fn: Any, kind: str, options: dict[str, Any]) -> Any:
        def declare(function: G) -> G:
            self._add(function, kind, dict(options))
            return function

        return declare if fn is None else declare(fn)

    def _add(self, function: Callable[..., Any], kind: str, options: dict[str, Any]) -> None:
        name = exact(options.pop("name", None) or getattr(function, "__name__", type(function).__name__))
        executor = options.get("executor") or self.defaults.get("executor")
        handler = registry.add_handler(
            f"{self.slug}.{name}", function, of_flow=True, atomic=options.get("atomic") is True, executor=executor
        )
        explicit = as_list(options.pop("depends_on", None) or ())
        if "next" in options:
            options["next"] = as_list(options["next"])
        place = places.of_caller(is_starting=registry.is_starting())
        draft = StepDraft(name, handler.name, kind, handler.params, options=options, place=place)
        draft.problems = [
            Problem(
                "bad_parameter",
                ("steps", name, "handler"),
                f"parameter {item!r} is positional only; handlers are called by name",
            )
            for item in handler.positional
        ]
        if not (isinstance(explicit, str | list) and all(isinstance(item, str) for item in explicit)):
            message = f"depends_on is a list of steps, not {explicit!r}"
            draft.problems.append(Problem("bad_value", ("steps", name, "depends_on"), message))
            explicit = ()
        draft.problems += times.given_as_numbers(options, ("steps", name))
        if options.get("atomic") and handler.is_async:
            draft.problems.append(atomic_coroutine(name))
        draft.depends_on = wire(handler, explicit, options)
        self.drafts.append(draft)
        self._compiled = self._places = None

    @property
    def spec(self) -> spec.FlowSpec:
        """The compiled definition; raises `DefinitionError` with all problems at once."""
        if self._compiled is None:
            self._compiled = self.compile()
        return self._compiled

    def compile(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> FlowSpec:
        """Return the definition with options of its steps replaced, by step; raises `DefinitionError`."""
        compiled = compile_flow(
            self.slug, self.drafts, self.defaults, self.options, overrides=overrides, problems=self.problems
        )
        # as the database gives it: what authors write as members of enumerations is text there
        return FlowSpec.from_dict(json.loads(json.dumps(compiled.to_dict())))

    def place_of(self, step: str | None) -> Place | None:
        """Return where the code of a step stands, else that of the flow."""
        if self._places is None:
            # of a step that is declared twice, the second one is to be mended
            self._places = {draft.name: draft.place for draft in self.drafts if isinstance(draft.name, str)}
        return self._places[step] if step in self._places else registry.place_of(self.slug)

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data."""
        return self.spec.to_dict()

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text."""
        return self.spec.to_mermaid()


def functions(given: OnFailure) -> tuple[tuple[Callable[..., Any], ...], list[Problem]]:
    """Return what a flow calls when a run of it failed, and what is wrong with what its author gave."""
    several = () if given is None else (given,) if callable(given) else as_list(given)
    if not isinstance(several, list | tuple):
        message = f"on_failure= takes a function or a list of functions, not {given!r}"
        return (), [Problem("bad_value", ("on_failure",), message)]
    wrong = [
        Problem("bad_value", ("on_failure",), f"on_failure= takes functions, not {item!r}")
        for item in several
        if not callable(item)
    ]
    wrong += [
        Problem(
            "bad_value",
            ("on_failure",),
            f"on_failure= calls {getattr(item, '__name__', repr(item))} with sender=, run= and signal=, which it does "
            "not take; begin it as 'def tell(sender, run, **kwargs)'",
        )
        for item in several
        if callable(item) and not _takes_what_receivers_get(item)
    ]
    return tuple(item for item in several if callable(item)), wrong


def atomic_coroutine(step: str) -> Problem:
    """Return what is wrong with an atomic step whose handler is a coroutine."""
    return Problem("conflict", ("steps", step, "atomic"), "atomic needs a plain function, not a coroutine")


def _takes_what_receivers_get(function: Callable[..., Any]) -> bool:
    """Say whether a function can be called as a receiver of `run_failed` is; what has no signature is believed."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(sender=None, run=None, signal=None)
    except TypeError:
        return False
    return True


def exact(name: Any) -> Any:
    """Return a name as an exact `str`; what is no text, as it is, for validation to find."""
    return plain(name, "A name") if isinstance(name, str) else name


def as_list(given: Any) -> Any:
    """Return what can be gone through only once as a list; a name, and what is no list, as it is."""
    return list(given) if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else given
