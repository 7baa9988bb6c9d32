"""Compiling what an author wrote to a `FlowSpec`: what steps depend on, what leads on, what is inherited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from django_workflow.definition import elements, spec
from django_workflow.definition.names import CONTEXT_NAMES
from django_workflow.definition.problems import Problem
from django_workflow.definition.registry import Handler, registry
from django_workflow.definition.retry import Retry, declared
from django_workflow.definition.schemas import schema
from django_workflow.definition.validation.flow import flow_problems, problems_of_overrides
from django_workflow.definition.validation.readable import Readable
from django_workflow.definition.validation.steps import step_problems
from django_workflow.definition.validation.topology import graph_problems
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import (
    assignments,
    compile_condition,
    compile_transitions,
    seconds,
    targets_of,
)
from django_workflow.exceptions import DefinitionError


def wire(handler: Handler, explicit: Iterable[str], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a step's dependencies: those named explicitly, by parameters, and by the map's source.

    One that is named twice in `explicit` stays there twice, for validation to find.
    """
    names = [explicit] if isinstance(explicit, str) else list(explicit)
    given = options.get("arguments")
    elsewhere = CONTEXT_NAMES.union(given if isinstance(given, Mapping) else ())
    implied = [name for name in handler.params if name not in elsewhere]
    over = options.get("over")
    source = over.split(".")[0] if isinstance(over, str) else ""
    if source and source not in ("input", "vars"):
        implied.append(source)
    return (*names, *(name for name in dict.fromkeys(implied) if name not in names))


def compile_flow(
    slug: str,
    drafts: list[StepDraft],
    defaults: Mapping[str, Any] | None = None,
    options: FlowOptions = FlowOptions(),  # noqa: B008  frozen
    *,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    problems: Iterable[Problem] = (),
) -> spec.FlowSpec:
    """Compile drafts to a spec.

    defaults: the flow's options for steps that set none.
    overrides: step name -> options that replace the author's.
    problems: what was wrong already with what the author wrote of the flow.
    Raises `DefinitionError` listing every problem with its place.
    """
    defaults, overrides = defaults or {}, overrides or {}
    problems = [*problems, *flow_problems(slug, options, defaults, Readable.of(drafts, options))]
    misfits = problems_of_overrides(overrides, {draft.name for draft in drafts})
    if not misfits:
        drafts = [_inherit(draft.options, overrides.get(draft.name, {}), draft) for draft in drafts]
    drafts = _without_ways_back(drafts)
    problems += misfits + step_problems(drafts, options)
    if problems:
        raise DefinitionError(list(dict.fromkeys(problems)), flow=slug)
    steps = {draft.name: _compile_step(slug, _inherit(defaults, draft.options, draft)) for draft in drafts}
    transitions = _transitions(slug, drafts)
    compiled = spec.FlowSpec(
        slug=slug,
        steps=steps,
        transitions=transitions,
        entry=tuple(options.entry or entry_of(steps, transitions)),
        title=options.title,
        max_duration=options.max_duration.total_seconds() if options.max_duration else None,
        max_tasks=options.max_tasks,
        max_iterations=options.max_iterations,
        input_schema=schema.as_json(options.input_schema) if options.input_schema else None,
        vars=assignments(options.vars),
        output=assignments(options.output),
    )
    misfits = graph_problems(compiled)
    if misfits:
        raise DefinitionError(misfits, flow=slug)
    return compiled


def entry_of(steps: Iterable[str], transitions: Iterable[elements.TransitionSpec]) -> tuple[str, ...]:
    """Return the steps that no other leads to: those a run begins with where its author names none."""
    reached = {name for item in transitions for name in item.to if name != item.source}
    return tuple(name for name in steps if name not in reached)


def _without_ways_back(drafts: list[StepDraft]) -> list[StepDraft]:
    """Take dependencies away that parameters imply but `next=` already makes: these only read the output.

    One that its author names besides is a problem: the step would be reached twice.
    """
    led_by: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        for target in targets_of(draft.options.get("next")):
            led_by[target].add(draft.name)
    if not led_by:
        return drafts
    return [_without(draft, led_by[draft.name]) for draft in drafts]


def _without(draft: StepDraft, leading: set[str]) -> StepDraft:
    over = draft.options.get("over")
    implied = {*draft.params, *(over.split(".")[:1] if isinstance(over, str) else ())}
    twice = [name for name in draft.depends_on if name in leading and name not in implied]
    return replace(
        draft,
        depends_on=tuple(name for name in draft.depends_on if name not in leading or name in twice),
        problems=[
            *draft.problems,
            *(
                Problem(
                    "duplicate",
                    ("steps", draft.name, "depends_on"),
                    f"it depends on {name!r}, which leads to it by next= as well",
                )
                for name in twice
            ),
        ],
    )


def _transitions(slug: str, drafts: Iterable[StepDraft]) -> tuple[elements.TransitionSpec, ...]:
    """Return what leads on from each step: first what its author wrote in `next=`, then what depends on it."""
    dependents: dict[str, list[str]] = defaultdict(list)
    for draft in drafts:
        for source in draft.depends_on:
            dependents[source].append(draft.name)
    table = {draft.name: list(compile_transitions(slug, draft.name, draft.options.get("next"))) for draft in drafts}
    for source, names in dependents.items():
        table[source] += [elements.TransitionSpec(source, (name,)) for name in names]
    return tuple(item for items in table.values() for item in items)


def _inherit(lower: Mapping[str, Any], upper: Mapping[str, Any], draft: StepDraft) -> StepDraft:
    """Return a draft with the options of two layers; each field of a retry policy is inherited by itself."""
    options = {**lower, **{name: value for name, value in upper.items() if value is not None or name not in lower}}
    retries = [layer["retry"] for layer in (lower, upper) if layer.get("retry") is not None]
    if retries and all(isinstance(retry, Retry | Mapping) for retry in retries):
        options["retry"] = {name: value for retry in retries for name, value in declared(retry).items()}
    return replace(draft, options=options)


def _compile_step(slug: str, draft: StepDraft) -> elements.StepSpec:
    options = dict(draft.options)
    retry = dict(options.pop("retry", None) or {})
    if callable(retry.get("strategy")):
        name = f"{slug}.{draft.name}.strategy"
        registry.add_callable(name, retry["strategy"], of_flow=True)
        retry["strategy"] = elements.CALLABLE_PREFIX + name
    timeout = seconds(options.pop("timeout", None))
    join = options.pop("join", elements.JOIN_ALL if draft.depends_on else None)
    options.pop("next", None)
    return elements.StepSpec(
        name=draft.name,
        handler=draft.handler,
        kind=draft.kind,
        params=draft.params,
        depends_on=draft.depends_on,
        join=join,
        when=compile_condition(f"{slug}.{draft.name}.when", options.pop("when", None)),
        delay=seconds(options.pop("delay", None)),
        arguments=dict(options.pop("arguments", None) or {}),
        resources=dict(options.pop("resources", None) or {}),
        retry=retry,
        timeout=None if timeout is None else float(timeout),
        **options,
    )
