"""The compiled form of a flow: immutable data, no functions, stable as JSON.

A `FlowSpec` is what a version stores and what a run is pinned to. Handlers, conditions and retry
strategies are named here and looked up in `definition.registry`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache, cached_property
from typing import Any, Final, Literal

from django_workflow.definition import graph
from django_workflow.definition.names import COMMANDS, CONTEXT_NAMES
from django_workflow.definition.schemas import schema

SINGLE: Final = "single"
MAP: Final = "map"
JOIN_ALL: Final = "all"
MATCH_ALL: Final = "all"
MATCH_FIRST: Final = "first"
#: Expressions of this package's own language; documents of other kinds bring theirs.
NATIVE: Final = "native"
#: Outcomes on which a plain dependency leads on: a skipped step does not stop its dependents.
DEPENDENCY_OUTCOMES: Final = ("succeeded", "skipped")
#: No delay, timeout or life of a run is longer: what adds up stays a time that a database and Python can tell.
LONGEST_TIME: Final = timedelta(days=365)


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
    """One way from a step to another, and the transition it belongs to."""

    source: str
    to: str
    transition: TransitionSpec


@dataclass(frozen=True)
class StepSpec:
    """A node of the graph; None means: inherit from the flow, then from the settings.

    over: a path to a list; in a flow of another language an expression of that language.
    item_names: how such a flow calls the parts of an item.
    arguments: what the handler receives besides, by parameter: expressions, or values as they are.
    delay: seconds between the activation and its tasks, or an expression that gives them.
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


#: A retry strategy that is a registered callable is stored under its name behind this prefix.
CALLABLE_PREFIX: Final = "callable:"
#: What a process needs for flows whose expressions are in another language, as the name of a callable.
LANGUAGE_PREFIX: Final = "language:"


@dataclass(frozen=True)
class FlowSpec:
    """A whole definition: steps in declared order, transitions, and the flow's own options.

    vars: the variables a run begins with. output: what it gives instead of the outputs of its leaves.
    language: of all its expressions. inputs: what a flow of another language takes of its input, with defaults.
    """

    slug: str
    steps: Mapping[str, StepSpec]
    transitions: tuple[TransitionSpec, ...]
    entry: tuple[str, ...]
    title: str = ""
    max_duration: float | None = None
    max_tasks: int | None = None
    max_iterations: int | None = None
    input_schema: Mapping[str, Any] | None = None
    vars: tuple[Assignment, ...] = ()
    output: tuple[Assignment, ...] = ()
    language: str = NATIVE
    inputs: tuple[Assignment, ...] = ()

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
    def edges(self) -> tuple[Edge, ...]:
        """Every way from a step to a step, in declared order."""
        return tuple(Edge(item.source, target, item) for item in self.transitions for target in item.steps)

    @cached_property
    def predecessors(self) -> Mapping[str, tuple[str, ...]]:
        """Distinct steps that lead into each step, in declared order."""
        table: dict[str, dict[str, None]] = {name: {} for name in self.steps}
        for edge in self.edges:
            table[edge.to][edge.source] = None
        return {name: tuple(sources) for name, sources in table.items()}

    @cached_property
    def successors(self) -> Mapping[str, tuple[str, ...]]:
        """Distinct steps that each step leads to, in declared order."""
        table: dict[str, dict[str, None]] = {name: {} for name in self.steps}
        for edge in self.edges:
            table[edge.source][edge.to] = None
        return {name: tuple(targets) for name, targets in table.items()}

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Steps that lead to no other: their outputs make the run's output."""
        return tuple(name for name, targets in self.successors.items() if not set(targets) - {name})

    @cached_property
    def has_joins(self) -> bool:
        """Whether any step waits for several predecessors."""
        return bool(self.joins)

    @cached_property
    def joins(self) -> frozenset[str]:
        """Steps that count arrivals; one that waits for its only predecessor starts with each arrival."""
        sizes = {name: self.join_size(name) for name in self.steps}
        return frozenset(
            name for name, size in sizes.items() if size is not None and not size == len(self.predecessors[name]) == 1
        )

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """For steps that lead on by dependencies only: the steps that wait for them."""
        return {
            name: tuple(item.to[0] for item in items)
            for name, items in self.outbound.items()
            if all(item.is_dependency for item in items)
        }

    @cached_property
    def components(self) -> Mapping[str, int]:
        """The number of each step's component, in an order in which a step comes after those it leads to."""
        return graph.components(self.successors)

    @cached_property
    def cycles(self) -> Mapping[str, int]:
        """The steps that lie on a cycle, each with the number of its cycle: those that reach each other share it."""
        numbers = self.components
        sizes = Counter(numbers.values())
        return {
            name: number
            for name, number in numbers.items()
            if sizes[number] > 1 or name in self.successors[name] or self._repeats_itself(name)
        }

    @cached_property
    def has_loops(self) -> bool:
        """Whether a step may be activated again: transitions lead back to it."""
        return bool(self.cycles)

    @cached_property
    def splits(self) -> frozenset[str]:
        """Steps without a join that two or more predecessors outside their own cycle reach (SEMANTICS F7).

        That a run begins with a step is one more way to reach it.
        """
        entry = frozenset(self.entry)
        return frozenset(
            name
            for name, sources in self.predecessors.items()
            if self.join_size(name) is None
            and sum(not self.is_back(source, name) for source in sources) + (name in entry) > 1
        )

    @cached_property
    def repeating(self) -> frozenset[str]:
        """Steps that may be activated more than once in one scope.

        They are on a cycle, reached twice at once, joins that a run also begins with, or behind one of these.
        """
        ways = Counter((edge.source, edge.to) for edge in self.edges)
        twice = [to for (_, to), count in ways.items() if count > 1]
        joins = [name for name in self.entry if self.predecessors[name] and self.join_size(name) is not None]
        begin = [*self.cycles, *twice, *joins]
        return frozenset(graph.reachable(self.successors, begin))

    @cached_property
    def is_bounded(self) -> bool:
        """Whether each step is activated at most once, so that only maps can make many tasks."""
        return not self.repeating and not self.splits

    @cached_property
    def is_plain(self) -> bool:
        """Whether all transitions are dependencies: a graph in which every join is reached whole or not at all."""
        begins = set(self.entry) == {name for name, sources in self.predecessors.items() if not sources}
        return begins and self.is_bounded and all(item.is_dependency for item in self.transitions)

    @cached_property
    def uses_variables(self) -> bool:
        """Whether its runs have variables."""
        return bool(self.vars) or self.language != NATIVE or any(item.publish for item in self.transitions)

    @cached_property
    def asking(self) -> frozenset[str]:
        """Steps after which variables are looked at: where a way publishes, and for what it leads to."""
        if self.language != NATIVE:
            return frozenset(self.steps)
        ways = (way for way in self.transitions if self.uses_variables)
        return frozenset(
            way.source
            for way in ways
            if way.publish or way.when is not None or isinstance(way.delay, str)
            or any(self.steps[name].may_read_variables for name in way.steps)
        )  # fmt: skip

    @cached_property
    def reads_input(self) -> bool:
        """Whether routing may look at the run's input: in a condition, as a map's source, for a variable, an output."""
        return (
            self.uses_variables
            or bool(self.output)
            or any(step.when is not None or step.over_path[:1] == ("input",) for step in self.steps.values())
            or any(isinstance(step.delay, str) for step in self.steps.values())
            or any(item.when is not None or isinstance(item.delay, str) for item in self.transitions)
        )

    @cached_property
    def path_callables(self) -> Mapping[str, tuple[str, ...]]:
        """For each step, the callables that settling it may need: its own, its transitions' and its successors'.

        A successor that settles at once is decided on with it, and so are its own successors.
        """
        language = () if self.language == NATIVE else (LANGUAGE_PREFIX + self.language,)
        begun = self._begin_callables
        table = {}
        for name, step in self.steps.items():
            names = dict.fromkeys((*language, *step.conditions))
            for transition in self.outbound[name]:
                names.update(dict.fromkeys(transition.callables))
                for target in transition.steps:
                    names.update(begun[target])
            table[name] = tuple(names)
        return table

    @cached_property
    def _begin_callables(self) -> Mapping[str, Mapping[str, None]]:
        """For each step, the callables that beginning it may need, those behind it included if it settles at once."""
        ways = {
            name: [item for item in items if not self._at_once[name].isdisjoint(item.on)]
            for name, items in self.outbound.items()
        }
        successors = {name: [target for item in items for target in item.steps] for name, items in ways.items()}
        groups: dict[int, list[str]] = {}
        for name, number in graph.components(successors).items():
            groups.setdefault(number, []).append(name)
        table: dict[str, dict[str, None]] = {}
        # what a group leads to comes before it; those that lead to each other need the same
        for group in groups.values():
            names: dict[str, None] = {}
            for name in group:
                names.update(dict.fromkeys(self.steps[name].conditions))
                for item in ways[name]:
                    names.update(dict.fromkeys(item.callables))
                for target in successors[name]:
                    names.update(table.get(target, {}))
            table.update(dict.fromkeys(group, names))
        return table

    @cached_property
    def _at_once(self) -> Mapping[str, frozenset[str]]:
        """The outcomes with which each step may settle as it is reached: by its condition, as an empty map, skipped."""
        cascades = {
            name: [target for item in items if item.on == DEPENDENCY_OUTCOMES for target in item.steps]
            for name, items in self.outbound.items()
        }
        begin = [target for name, step in self.steps.items() if step.may_cascade for target in cascades[name]]
        cascaded = graph.reachable(cascades, begin)
        return {
            name: frozenset(
                outcome
                for outcome, is_possible in (
                    ("failed", step.when is not None and step.on_unmet == "fail"),
                    ("skipped", name in cascaded or (step.when is not None and step.on_unmet != "fail")),
                    ("succeeded", step.kind == MAP),
                )
                if is_possible
            )
            for name, step in self.steps.items()
        }

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the definition that ignores the order of keys."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def join_size(self, step: str) -> int | None:
        """How many distinct predecessors must arrive before `step` starts; None: each arrival starts it."""
        join = self.steps[step].join
        return len(self.predecessors[step]) if isinstance(join, str) else join

    def is_join(self, step: str) -> bool:
        """Say whether `step` counts arrivals."""
        return step in self.joins

    def is_back(self, source: str, step: str) -> bool:
        """Say whether a way from `source` to `step` stays on a cycle of theirs."""
        return source in self.cycles and self.cycles[source] == self.cycles.get(step)

    def _repeats_itself(self, step: str) -> bool:
        return any("retry" in item.to for item in self.outbound[step])

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data; `from_dict` reads it back to an equal spec."""
        return {
            "slug": self.slug,
            **_without_defaults(self, skip=("slug", "steps", "transitions", "entry", *ASSIGNMENTS)),
            **{name: _assignments(values) for name in ASSIGNMENTS if (values := getattr(self, name))},
            "entry": list(self.entry),
            "steps": [_step_to_dict(step) for step in self.steps.values()],
            "transitions": [_transition_to_dict(item) for item in self.transitions],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FlowSpec:
        """Read what `to_dict` wrote."""
        options = {key: data[key] for key in FLOW_OPTIONS if key in data}
        options |= {name: _read_assignments(data[name]) for name in ASSIGNMENTS if name in data}
        steps = [_step_from_dict(item) for item in data["steps"]]
        return cls(
            slug=data["slug"],
            steps={step.name: step for step in steps},
            transitions=tuple(_transition_from_dict(item) for item in data["transitions"]),
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
        for edge in self.edges:
            label = edge_label(edge.transition).replace('"', "#quot;")
            arrow = f'-->|"{label}"|' if label else "-->"
            lines.append(f"    {_mermaid_id(edge.source)} {arrow} {_mermaid_id(edge.to)}")
        return "\n".join(lines)


#: What a stored definition holds of its flow's own options, where they are not the defaults.
FLOW_OPTIONS: Final = ("title", "max_duration", "max_tasks", "max_iterations", "input_schema", "language")
#: What it holds in order, as a list of names and values.
ASSIGNMENTS: Final = ("vars", "output", "inputs")
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


def edge_label(transition: TransitionSpec) -> str:
    """Return what a picture says at a transition: its outcome where it is not the usual one, and its condition."""
    parts = []
    if transition.on not in (DEPENDENCY_OUTCOMES, ("succeeded",)):
        parts.append("always" if len(transition.on) > 2 else " or ".join(transition.on))
    if transition.when is not None:
        parts.append(str(transition.when))
    if transition.is_otherwise:
        parts.append("otherwise")
    return ": ".join(parts)


def _transition_to_dict(item: TransitionSpec) -> dict[str, Any]:
    data: dict[str, Any] = {"source": item.source, "to": list(item.to), "on": list(item.on)}
    data |= _without_defaults(item, skip=("source", "to", "on", "publish"))
    if item.when is not None:
        data["when"] = _without_defaults(item.when)
    if item.publish:
        data["publish"] = _assignments(item.publish)
    return data


def _assignments(items: Iterable[Assignment]) -> list[dict[str, Any]]:
    return [{"name": item.name, "value": item.value, **({"is_merge": True} if item.is_merge else {})} for item in items]


def _read_assignments(data: Iterable[Mapping[str, Any]]) -> tuple[Assignment, ...]:
    return tuple(Assignment(**item) for item in data)


def _transition_from_dict(data: Mapping[str, Any]) -> TransitionSpec:
    values = dict(data)
    for name in ("to", "on"):
        values[name] = tuple(values[name])
    values["publish"] = _read_assignments(values.get("publish", ()))
    if values.get("when") is not None:
        values["when"] = Condition(**values["when"])
    return TransitionSpec(**values)


def _step_to_dict(step: StepSpec) -> dict[str, Any]:
    data = _without_defaults(step)
    if step.when is not None:
        data["when"] = _without_defaults(step.when)
    return data


def _step_from_dict(data: Mapping[str, Any]) -> StepSpec:
    values = dict(data)
    for name in ("params", "depends_on", "item_names"):
        values[name] = tuple(values.get(name, ()))
    if values.get("when") is not None:
        values["when"] = Condition(**values["when"])
    return StepSpec(**values)


def _without_defaults(item: Any, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a dataclass's fields that differ from an empty value of theirs, tuples as lists."""
    data = {}
    kind: Any = type(item)
    for name, default in _defaults(kind):
        value = getattr(item, name)
        if name in skip or value == default or value in ((), {}):
            continue
        data[name] = list(value) if isinstance(value, tuple) else value
    return data


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the fields of a dataclass with their defaults, which thousands of steps and transitions ask for."""
    return tuple((item.name, item.default) for item in fields(kind))
