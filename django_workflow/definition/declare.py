"""Declaring a flow in code: `@flow.step`, `@flow.map`, and their compilation to a `FlowSpec`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar, overload

from django_workflow.definition import schema, spec, validate
from django_workflow.definition.registry import Handler, parameters, registry
from django_workflow.definition.retry import Retry
from django_workflow.exceptions import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])
When = str | Callable[..., bool] | None

#: Parameter names with a meaning of their own; every other one names a dependency.
CONTEXT_PARAMS = frozenset({"input", "ctx", "item", "index"})


@dataclass
class StepDraft:
    """A step as its author wrote it: options that were left out are absent."""

    name: str
    handler: str
    kind: str = spec.SINGLE
    params: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class FlowDeclaration:
    """What a flow's author says: options of the flow and its steps, in order.

    slug: the flow's name.
    title: shown to people.
    max_duration: the longest life of a run.
    max_tasks: most tasks of a run.
    input_schema: a JSON Schema that inputs have to fit; without one a run takes any JSON value.
    retry, timeout, queue, executor: defaults of its steps.
    """

    def __init__(
        self,
        slug: str,
        *,
        title: str = "",
        max_duration: timedelta | None = None,
        max_tasks: int | None = None,
        input_schema: Mapping[str, Any] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        queue: str | None = None,
        executor: str | None = None,
    ) -> None:
        self.slug = slug
        self.title = title
        self.max_duration = max_duration
        self.max_tasks = max_tasks
        self.input_schema = input_schema
        self.defaults = {"retry": retry, "timeout": timeout, "queue": queue, "executor": executor}
        self.drafts: list[StepDraft] = []
        self._compiled: spec.FlowSpec | None = None
        registry.add_flow(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.slug}: {', '.join(draft.name for draft in self.drafts) or 'no steps'}>"

    @overload
    def step(self, fn: F, /) -> F: ...
    @overload
    def step(self, fn: None = None, /, **options: Any) -> Callable[[F], F]: ...
    def step(self, fn: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Declare the decorated function as a step; the function itself stays a plain function.

        name: the step's name, by default the function's.
        depends_on: further dependencies beside the steps that parameters name.
        when, on_unmet: a condition, and what happens where it is false: "skip", "skip_cascade" or "fail".
        on_exhausted: what happens when no attempt is left: "fail", "skip" or "skip_cascade".
        retry, timeout, queue, executor: else the flow's, else the settings'.
        atomic: run handler and bookkeeping in one transaction of the site's database.
        """
        return self._declare(fn, spec.SINGLE, options)

    @overload
    def map(self, fn: F, /) -> F: ...
    @overload
    def map(self, fn: None = None, /, **options: Any) -> Callable[[F], F]: ...
    def map(self, fn: F | None = None, /, **options: Any) -> F | Callable[[F], F]:
        """Declare the decorated function as a map step: one task per element of a list.

        over: a path to the list, "step", "step.key", "input" or "input.key"; or
        count: a number of tasks, which receive their index only.
        max_parallel: most items in flight at once.
        tolerate: how many items (or which share below 1) may fail; their place holds None.
        Further options as for `step`.
        """
        return self._declare(fn, spec.MAP, options)

    def _declare(self, fn: F | None, kind: str, options: dict[str, Any]) -> F | Callable[[F], F]:
        def declare(function: F) -> F:
            self._add(function, kind, dict(options))
            return function

        return declare if fn is None else declare(fn)

    def _add(self, function: Callable[..., Any], kind: str, options: dict[str, Any]) -> None:
        name = options.pop("name", None) or getattr(function, "__name__", type(function).__name__)
        handler = registry.add_handler(f"{self.slug}.{name}", function)
        explicit = options.pop("depends_on", None) or ()
        draft = StepDraft(name, handler.name, kind, handler.params, options=options)
        draft.problems = [
            f"step {name!r}: parameter {item.name!r} is positional only; handlers are called by name"
            for item in parameters(function)
            if item.kind is item.POSITIONAL_ONLY
        ]
        if not isinstance(explicit, Iterable):
            draft.problems.append(f"step {name!r}: depends_on is a list of steps, not {explicit!r}")
            explicit = ()
        if options.get("atomic") and handler.is_async:
            draft.problems.append(f"step {name!r}: atomic needs a plain function, not a coroutine")
        draft.depends_on = wire(handler, explicit, options.get("over"))
        self.drafts.append(draft)
        self._compiled = None

    @property
    def spec(self) -> spec.FlowSpec:
        """The compiled definition; raises `DefinitionError` with all problems at once."""
        if self._compiled is None:
            self._compiled = compile_flow(
                self.slug,
                self.drafts,
                self.defaults,
                title=self.title,
                max_duration=self.max_duration,
                max_tasks=self.max_tasks,
                input_schema=self.input_schema,
            )
        return self._compiled

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data."""
        return self.spec.to_dict()

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text."""
        return self.spec.to_mermaid()


def wire(handler: Handler, explicit: Iterable[str], over: Any) -> tuple[str, ...]:
    """Return a step's dependencies: those named explicitly, by parameters, and by the map's source.

    One that is named twice in `explicit` stays there twice, for validation to find.
    """
    names = [explicit] if isinstance(explicit, str) else list(explicit)
    implied = [name for name in handler.params if name not in CONTEXT_PARAMS]
    source = over.split(".")[0] if isinstance(over, str) else ""
    if source and source != "input":
        implied.append(source)
    return (*names, *(name for name in dict.fromkeys(implied) if name not in names))


def compile_flow(
    slug: str,
    drafts: list[StepDraft],
    defaults: Mapping[str, Any] | None = None,
    *,
    title: str = "",
    max_duration: timedelta | None = None,
    max_tasks: int | None = None,
    input_schema: Mapping[str, Any] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> spec.FlowSpec:
    """Compile drafts to a spec.

    defaults: the flow's options for steps that set none.
    overrides: step name -> options that replace the author's.
    Raises `DefinitionError` listing every problem with its place.
    """
    defaults, overrides = defaults or {}, overrides or {}
    problems = validate.flow_options(slug, max_duration, max_tasks, defaults, input_schema)
    misfits = validate.overrides(overrides, {draft.name for draft in drafts})
    if not misfits:
        drafts = [_inherit(draft.options, overrides.get(draft.name, {}), draft) for draft in drafts]
    problems += misfits + validate.drafts(drafts)
    if problems:
        raise DefinitionError(problems, flow=slug)
    steps = {draft.name: _compile_step(slug, _inherit(defaults, draft.options, draft)) for draft in drafts}
    return spec.FlowSpec(
        slug=slug,
        steps=steps,
        transitions=tuple(
            spec.TransitionSpec(source, step.name) for step in steps.values() for source in step.depends_on
        ),
        entry=tuple(name for name, step in steps.items() if not step.depends_on),
        title=title,
        max_duration=max_duration.total_seconds() if max_duration else None,
        max_tasks=max_tasks,
        input_schema=schema.as_json(input_schema) if input_schema else None,
    )


def _inherit(lower: Mapping[str, Any], upper: Mapping[str, Any], draft: StepDraft) -> StepDraft:
    """Return a draft with the options of two layers; each field of a retry policy is inherited by itself."""
    options = {**lower, **{name: value for name, value in upper.items() if value is not None or name not in lower}}
    retries = [layer["retry"] for layer in (lower, upper) if layer.get("retry") is not None]
    if retries and all(isinstance(retry, Retry | Mapping) for retry in retries):
        declared = [retry.declared() if isinstance(retry, Retry) else retry for retry in retries]
        options["retry"] = {name: value for layer in declared for name, value in layer.items()}
    return replace(draft, options=options)


def _compile_step(slug: str, draft: StepDraft) -> spec.StepSpec:
    options = dict(draft.options)
    retry = dict(options.pop("retry", None) or {})
    if callable(retry.get("strategy")):
        name = f"{slug}.{draft.name}.strategy"
        registry.add_callable(name, retry["strategy"])
        retry["strategy"] = spec.CALLABLE_PREFIX + name
    timeout = options.pop("timeout", None)
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    return spec.StepSpec(
        name=draft.name,
        handler=draft.handler,
        kind=draft.kind,
        params=draft.params,
        depends_on=draft.depends_on,
        join=spec.JOIN_ALL if draft.depends_on else None,
        when=_compile_condition(slug, draft.name, options.pop("when", None)),
        retry=retry,
        timeout=None if seconds is None else float(seconds),
        **options,
    )


def _compile_condition(slug: str, step: str, when: Any) -> spec.Condition | None:
    if when is None or isinstance(when, spec.Condition):
        return when
    if callable(when):
        name = f"{slug}.{step}.when"
        registry.add_callable(name, when)
        return spec.Condition(callable=name)
    return spec.Condition(expression=when)
