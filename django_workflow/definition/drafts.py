"""A flow as its author wrote it, apart from code: what documents hold and what the database keeps of a stored flow.

The stored form is JSON that a jsonb column gives back as it was: what has an order is a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from django_workflow.definition import dialect, elements, spec
from django_workflow.definition.compile import compile_flow, entry_of, wire
from django_workflow.definition.declare import atomic_coroutine
from django_workflow.definition.problems import Problem
from django_workflow.definition.registry import Handler, registry
from django_workflow.definition.retry import Retry, declared
from django_workflow.definition.schemas import schema
from django_workflow.definition.validation.steps import MOST_GUESSED
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import (
    OUTCOMES,
    Otherwise,
    To,
    Transition,
    When,
    targets,
    transitions_of,
)
from django_workflow.exceptions import DefinitionError
from django_workflow.spelling import at_most, nearest

#: Options whose values are named and ordered.
VALUES: Final = ("vars", "output", "arguments", "publish", "merge")
#: Options of a step that its flow may set for all of them.
SHARED: Final = ("retry", "timeout", "queue", "executor")


@dataclass(frozen=True)
class FlowDraft:
    """Options of a flow and its steps, in order; a step's parameters are not known before it is bound to code.

    steps: their `depends_on` holds what the author named.
    """

    slug: str
    options: FlowOptions
    defaults: Mapping[str, Any]
    steps: tuple[StepDraft, ...]

    def compile(
        self,
        *,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        handler_names: Mapping[str, str] | None = None,
        handlers: Mapping[str, Handler] | None = None,
    ) -> spec.FlowSpec:
        """Return the definition with the signatures of its handlers; raises `DefinitionError` with all problems.

        overrides: as for `compile_flow`. handler_names: step -> handler in place of the draft's.
        handlers: further ones beside those that are registered.
        """
        with at_most(MOST_GUESSED):
            steps = [bind(step, (handler_names or {}).get(step.name), handlers or {}) for step in self.steps]
        return compile_flow(self.slug, steps, self.defaults, self.options, overrides=overrides)


def bind(step: StepDraft, handler_name: str | None, handlers: Mapping[str, Handler]) -> StepDraft:
    """Return a step with the parameters of its handler and the dependencies that follow from them."""
    name = handler_name or step.handler
    handler = handlers.get(name) or registry.handler(name)
    bound = replace(step, handler=name, problems=list(step.problems), options=dict(step.options))
    if handler is None:
        message = f"no handler {name!r} is registered; {_remedy(name)}"
        bound.problems.append(Problem("unknown_handler", ("steps", step.name, "handler"), message))
        handler = Handler(name, _nobody, (), {}, is_async=False)
    bound.problems += [
        Problem(
            "bad_parameter",
            ("steps", step.name, "handler"),
            f"parameter {item!r} of handler {name!r} is positional only; handlers are called by name",
        )
        for item in handler.positional
    ]
    if step.options.get("atomic") and handler.is_async:
        bound.problems.append(atomic_coroutine(step.name))
    bound.params = handler.params
    bound.depends_on = wire(handler, step.depends_on, step.options)
    return bound


def _remedy(name: str) -> str:
    meant = nearest(name, registry.handler_names(), likeness=0.8)
    return f"did you mean {meant!r}?" if meant else f'decorate a function with @handler("{name}") in a workflows.py'


def _nobody() -> None:
    """Stand for a handler that this process does not have."""


def of_spec(flow: spec.FlowSpec) -> FlowDraft:
    """Return the draft that compiles to `flow`; raises `DefinitionError` where its language is not ours."""
    if flow.language != dialect.NATIVE:
        message = f"its expressions are {flow.language}'s; this format has its own"
        raise DefinitionError([Problem("not_supported", (), message)], flow=flow.slug)
    entry = None if flow.entry == entry_of(flow.steps, flow.transitions) else flow.entry
    options = FlowOptions(
        title=flow.title,
        max_duration=None if flow.max_duration is None else timedelta(seconds=flow.max_duration),
        max_tasks=flow.max_tasks,
        max_iterations=flow.max_iterations,
        entry=entry,
        vars=_by_name(flow.vars),
        output=_by_name(flow.output),
        input_schema=flow.input_schema,
    )
    return FlowDraft(flow.slug, options, {}, tuple(_step_of_spec(flow, step) for step in flow.steps.values()))


def _step_of_spec(flow: spec.FlowSpec, step: elements.StepSpec) -> StepDraft:
    options: dict[str, Any] = {
        "title": step.title,
        **{name: getattr(step, name) for name in ("over", "count", "max_parallel", "tolerate")},
        **{name: getattr(step, name) for name in ("timeout", "queue", "executor", "when", "delay")},
        "retry": dict(step.retry),
        "arguments": dict(step.arguments),
        "resources": dict(step.resources),
        "on_unmet": step.on_unmet if step.on_unmet != "skip" else None,
        "on_exhausted": step.on_exhausted if step.on_exhausted != "fail" else None,
        "match": step.match if step.match != elements.MATCH_ALL else None,
        "atomic": step.atomic or None,
        "next": _transitions_of(flow, step),
    }
    options = {name: value for name, value in options.items() if value is not None and value not in ("", {}, [])}
    if step.join != (elements.JOIN_ALL if step.depends_on else None):
        options["join"] = step.join
    return StepDraft(step.name, step.handler, step.kind, depends_on=step.depends_on, options=options)


def _transitions_of(flow: spec.FlowSpec, step: elements.StepSpec) -> list[Transition]:
    """Return the transitions of a step that stood in its `next=`, which come before its dependents."""
    dependents = [name for name, other in flow.steps.items() if step.name in other.depends_on]
    outbound = list(flow.outbound[step.name])
    return [_transition_of(item) for item in outbound[: len(outbound) - len(dependents)]]


def _transition_of(item: elements.TransitionSpec) -> Transition:
    on = next(name for name, outcomes in OUTCOMES.items() if outcomes == item.on)
    common: dict[str, Any] = {
        "to": item.to[0] if len(item.to) == 1 else item.to,
        "on": on,
        "publish": _by_name(part for part in item.publish if not part.is_merge),
        "merge": _by_name(part for part in item.publish if part.is_merge),
        "delay": timedelta(seconds=item.delay) if isinstance(item.delay, int | float) else item.delay,
    }
    if item.is_otherwise:
        return Otherwise(**common)
    return When(item.when, **common) if item.when is not None else To(**common)  # type: ignore[arg-type]


def _by_name(items: Iterable[elements.Assignment]) -> dict[str, Any] | None:
    return {item.name: item.value for item in items} or None


def to_stored(draft: FlowDraft) -> dict[str, Any]:
    """Return a draft as a row holds it, but for slug and title, which have columns of their own."""
    options = draft.options
    values = {
        "max_duration": options.max_duration,
        "max_tasks": options.max_tasks,
        "max_iterations": options.max_iterations,
        "entry": None if options.entry is None else list(options.entry),
        "vars": options.vars,
        "output": options.output,
        "input_schema": schema.as_json(options.input_schema) if options.input_schema else None,
        "defaults": stored_options(draft.defaults),
    }
    return {"options": stored_options(values), "steps": [stored_step(step) for step in draft.steps]}


def stored_step(step: StepDraft) -> dict[str, Any]:
    """Return a step as a row holds it."""
    head = {"name": step.name, "kind": step.kind, "depends_on": list(step.depends_on), "handler": step.handler}
    return head | stored_options(step.options)


def stored_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON: times as seconds, policies and callables by what names them, named values as pairs.

    Raises `DefinitionError` for functions: a row never holds code.
    """
    return {
        name: _stored(name, value)
        for name, value in options.items()
        if (value is not None and value not in ({}, [])) or name == "join"
    }


def _stored(name: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Retry) or (name == "retry" and isinstance(value, Mapping)):
        policy = declared(value)
        if callable(policy.get("strategy")):
            raise _refused("retry", "retry: a stored flow names its strategy; register it with @condition")
        return policy
    if name == "next":
        return [_stored_transition(item) for item in _transitions(value)]
    if isinstance(value, elements.Condition):
        return {"callable": value.callable} if value.callable else value.expression
    if callable(value):
        raise _refused(name, f"option {name}: a stored flow names functions, it does not hold them")
    if name in VALUES and isinstance(value, Mapping):
        return [[key, item] for key, item in value.items()]
    return list(value) if isinstance(value, tuple) else value


def _refused(option: str, message: str) -> DefinitionError:
    """Return the error for an option that cannot be stored; whose it is, its caller knows."""
    return DefinitionError([Problem("bad_value", (option,), message, place="")])


def _transitions(value: Any) -> list[Any]:
    try:
        return transitions_of(value)
    except TypeError:
        raise _refused("next", f"next must be a list of When, To, Otherwise or steps, not {value!r}") from None


def _stored_transition(item: Any) -> dict[str, Any]:
    if not isinstance(item, Transition):
        raise _refused("next", f"next: a transition must be a When, a To, an Otherwise or a step, not {item!r}")
    is_named = isinstance(item.to, str | list | tuple)
    data = {"otherwise" if isinstance(item, Otherwise) else "to": list(targets(item)) if is_named else item.to}
    common = {name: getattr(item, name) for name in ("publish", "merge", "delay")}
    if item.on != "succeeded":
        data["on"] = item.on
    if isinstance(item, When):
        common["when"] = item.when
    return data | stored_options(common)


def from_stored(slug: str, title: str, data: Mapping[str, Any]) -> FlowDraft:
    """Read what `to_stored` wrote."""
    options = data.get("options", {})
    duration = options.get("max_duration")
    return FlowDraft(
        slug,
        FlowOptions(
            title=title,
            max_duration=timedelta(seconds=duration) if duration else None,
            **{name: options.get(name) for name in ("max_tasks", "max_iterations", "entry", "input_schema")},
            **{name: _named(options.get(name)) for name in ("vars", "output")},
        ),
        options.get("defaults", {}),
        tuple(_read_step(step) for step in data.get("steps", [])),
    )


def _read_step(step: Mapping[str, Any]) -> StepDraft:
    head = ("name", "kind", "depends_on", "handler")
    options = {name: _read(name, value) for name, value in step.items() if name not in head}
    handler = step.get("handler", step["name"])
    return StepDraft(step["name"], handler, step["kind"], depends_on=tuple(step["depends_on"]), options=options)


def _read(name: str, value: Any) -> Any:
    match name:
        case "next":
            return [_read_transition(item) for item in value]
        case "when" if isinstance(value, Mapping):
            return elements.Condition(**value)
        case "delay" if isinstance(value, int | float):
            return float(value)
        case _:
            return _named(value) if name in VALUES else value


def _read_transition(data: Mapping[str, Any]) -> Transition:
    options = {name: _read(name, value) for name, value in data.items() if name not in ("to", "otherwise")}
    kind: Callable[..., Transition] = Otherwise if "otherwise" in data else When if "when" in data else To
    found = data.get("to", data.get("otherwise"))
    return kind(to=found[0] if isinstance(found, list) and len(found) == 1 else found, **options)


def _named(value: Any) -> Any:
    """Return pairs as names and values; anything else as it is, for validation to tell of it."""
    if isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return {name: item for name, item in value}  # noqa: C416  pairs of any JSON
    return value
