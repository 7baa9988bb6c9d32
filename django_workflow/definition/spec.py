"""The compiled form of a flow: immutable data, no functions, stable as JSON.

A `FlowSpec` is what a version stores and what a run is pinned to. Handlers, conditions and retry
strategies are named here and looked up in `definition.registry`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final, Literal

from django_workflow.definition import schema
from django_workflow.definition.graph import find_cycles

SINGLE: Final = "single"
MAP: Final = "map"
JOIN_ALL: Final = "all"
#: Outcomes on which a plain dependency leads on: a skipped step does not stop its dependents.
DEPENDENCY_OUTCOMES: Final = ("succeeded", "skipped")


@dataclass(frozen=True, slots=True)
class TransitionSpec:
    """An edge of the graph: when `source` ends with one of the outcomes `on`, `to` receives an arrival."""

    source: str
    to: str
    on: tuple[str, ...] = DEPENDENCY_OUTCOMES


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a step: an expression, or the name of a registered callable."""

    expression: str | None = None
    callable: str | None = None

    def __str__(self) -> str:
        return self.expression if self.expression is not None else f"{self.callable}()"


@dataclass(frozen=True)
class StepSpec:
    """A node of the graph; None means: inherit from the flow, then from the settings."""

    name: str
    handler: str
    kind: str = SINGLE
    params: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    join: Literal["all"] | int | None = None
    over: str | None = None
    count: int | None = None
    max_parallel: int | None = None
    tolerate: float | None = None
    when: Condition | None = None
    on_unmet: str = "skip"
    on_exhausted: str = "fail"
    retry: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    queue: str | None = None
    executor: str | None = None
    atomic: bool = False
    title: str = ""

    @cached_property
    def over_path(self) -> tuple[str, ...]:
        """The parts of `over`: the source, then the keys into its value."""
        return tuple(self.over.split(".")) if self.over else ()

    @cached_property
    def callables(self) -> tuple[str, ...]:
        """Names of the registered callables this step needs besides its handler."""
        names = []
        if self.when is not None and self.when.callable:
            names.append(self.when.callable)
        strategy = self.retry.get("strategy")
        if isinstance(strategy, str) and strategy.startswith(CALLABLE_PREFIX):
            names.append(strategy.removeprefix(CALLABLE_PREFIX))
        return tuple(names)


#: A retry strategy that is a registered callable is stored under its name behind this prefix.
CALLABLE_PREFIX: Final = "callable:"


@dataclass(frozen=True)
class FlowSpec:
    """A whole definition: steps in declared order, transitions, and the flow's own options."""

    slug: str
    steps: Mapping[str, StepSpec]
    transitions: tuple[TransitionSpec, ...]
    entry: tuple[str, ...]
    title: str = ""
    max_duration: float | None = None
    max_tasks: int | None = None
    input_schema: Mapping[str, Any] | None = None

    @cached_property
    def input_validator(self) -> Any:
        """What checks inputs against `input_schema`; None where the flow takes anything."""
        return None if self.input_schema is None else schema.compiled(self.input_schema)

    @cached_property
    def outbound(self) -> Mapping[str, tuple[TransitionSpec, ...]]:
        """Transitions that leave each step, in declared order."""
        table: dict[str, list[TransitionSpec]] = {name: [] for name in self.steps}
        for transition in self.transitions:
            table[transition.source].append(transition)
        return {name: tuple(items) for name, items in table.items()}

    @cached_property
    def predecessors(self) -> Mapping[str, tuple[str, ...]]:
        """Distinct steps that lead into each step, in declared order."""
        table: dict[str, dict[str, None]] = {name: {} for name in self.steps}
        for transition in self.transitions:
            table[transition.to][transition.source] = None
        return {name: tuple(sources) for name, sources in table.items()}

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Steps that lead nowhere: their outputs make the run's output."""
        return tuple(name for name, items in self.outbound.items() if not items)

    @cached_property
    def has_joins(self) -> bool:
        """Whether any step waits for several predecessors."""
        return any(len(sources) > 1 for sources in self.predecessors.values())

    @cached_property
    def has_loops(self) -> bool:
        """Whether a step may be activated again: transitions lead back to it."""
        back_to_itself = any(item.source == item.to for item in self.transitions)
        return back_to_itself or any(find_cycles(self.predecessors))

    @cached_property
    def reads_input(self) -> bool:
        """Whether routing may look at the run's input: in a condition, or as a map's source."""
        return any(step.when is not None or step.over_path[:1] == ("input",) for step in self.steps.values())

    @cached_property
    def path_callables(self) -> Mapping[str, tuple[str, ...]]:
        """For each step, the callables that settling it may need: its own and its successors'."""
        table = {}
        for name, step in self.steps.items():
            names = dict.fromkeys(step.callables)
            for transition in self.outbound[name]:
                names.update(dict.fromkeys(self.steps[transition.to].callables))
            table[name] = tuple(names)
        return table

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the definition that ignores the order of keys."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def join_size(self, step: str) -> int | None:
        """How many distinct predecessors must arrive before `step` starts; None: each arrival starts it."""
        join = self.steps[step].join
        return len(self.predecessors[step]) if isinstance(join, str) else join

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data; `from_dict` reads it back to an equal spec."""
        return {
            "slug": self.slug,
            **_without_defaults(self, skip=("slug", "steps", "transitions", "entry")),
            "entry": list(self.entry),
            "steps": [_step_to_dict(step) for step in self.steps.values()],
            "transitions": [{"source": item.source, "to": item.to, "on": list(item.on)} for item in self.transitions],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FlowSpec:
        """Read what `to_dict` wrote."""
        options = {key: data[key] for key in FLOW_OPTIONS if key in data}
        steps = [_step_from_dict(item) for item in data["steps"]]
        return cls(
            slug=data["slug"],
            steps={step.name: step for step in steps},
            transitions=tuple(
                TransitionSpec(item["source"], item["to"], tuple(item["on"])) for item in data["transitions"]
            ),
            entry=tuple(data["entry"]),
            **options,
        )

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text, for documentation."""
        lines = ["flowchart TD"]
        for step in self.steps.values():
            label = (step.title or step.name).replace('"', "#quot;")
            node = _mermaid_id(step.name)
            lines.append(f'    {node}[["{label} × n"]]' if step.kind == MAP else f'    {node}["{label}"]')
        for item in self.transitions:
            label = "" if item.on == DEPENDENCY_OUTCOMES else f"|{' or '.join(item.on)}|"
            lines.append(f"    {_mermaid_id(item.source)} -->{label} {_mermaid_id(item.to)}")
        return "\n".join(lines)


#: What a stored definition holds of its flow's own options, where they are not the defaults.
FLOW_OPTIONS: Final = ("title", "max_duration", "max_tasks", "input_schema")
#: Words that Mermaid does not take as a node's id.
MERMAID_WORDS = frozenset(
    {
        *("call", "class", "classdef", "click", "default", "direction", "end", "flowchart", "graph", "href"),
        *("linkstyle", "style", "subgraph"),
    }
)


def _mermaid_id(step: str) -> str:
    # names of steps are lower-case, so the capital makes it no other step's
    return step.capitalize() if step in MERMAID_WORDS else step


def _step_to_dict(step: StepSpec) -> dict[str, Any]:
    data = _without_defaults(step)
    if step.when is not None:
        data["when"] = _without_defaults(step.when)
    return data


def _step_from_dict(data: Mapping[str, Any]) -> StepSpec:
    values = dict(data)
    for name in ("params", "depends_on"):
        values[name] = tuple(values.get(name, ()))
    if values.get("when") is not None:
        values["when"] = Condition(**values["when"])
    return StepSpec(**values)


def _without_defaults(item: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a dataclass's fields that differ from an empty value of theirs, tuples as lists."""
    data = {}
    for spec in fields(item):
        value = getattr(item, spec.name)
        if spec.name in skip or value == spec.default or value in ((), {}):
            continue
        data[spec.name] = list(value) if isinstance(value, tuple) else value
    return data
