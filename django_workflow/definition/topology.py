"""What follows from the steps and transitions of a definition: joins, splits, cycles, what settles at once.

Each is computed once, when it is first asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property

from django_workflow.definition import graph
from django_workflow.definition.dialect import NATIVE, Dialect, dialect_of
from django_workflow.definition.elements import (
    DEPENDENCY_OUTCOMES,
    LANGUAGE_PREFIX,
    MAP,
    Assignment,
    Edge,
    StepSpec,
    TransitionSpec,
)


class Topology:
    """What is derived from a definition, of which it knows these fields."""

    steps: Mapping[str, StepSpec]
    transitions: tuple[TransitionSpec, ...]
    entry: tuple[str, ...]
    vars: tuple[Assignment, ...]
    output: tuple[Assignment, ...]
    language: str

    @cached_property
    def dialect(self) -> Dialect:
        """In what its language differs."""
        return dialect_of(self.language)

    @cached_property
    def outbound(self) -> Mapping[str, tuple[TransitionSpec, ...]]:
        """Transitions that leave each step, in declared order."""
        table: dict[str, list[TransitionSpec]] = {name: [] for name in self.steps}
        for transition in self.transitions:
            table[transition.source].append(transition)
        return {name: tuple(items) for name, items in table.items()}

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, in declared order."""
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

        That a run begins with a step counts as one that reaches it.
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
        counts = Counter((edge.source, edge.to) for edge in self.edges)
        twice = [to for (_, to), count in counts.items() if count > 1]
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
        return bool(self.vars) or self.dialect.brings_variables or any(item.publish for item in self.transitions)

    @cached_property
    def asking(self) -> frozenset[str]:
        """Steps after which variables are looked at: where a transition publishes, and for what it leads to."""
        if not self.dialect.is_analysed:
            return frozenset(self.steps)
        transitions = self.transitions if self.uses_variables else ()
        return frozenset(
            item.source
            for item in transitions
            if item.publish or item.when is not None or isinstance(item.delay, str)
            or any(self.steps[name].may_read_variables for name in item.steps)
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
        taken = {
            name: [item for item in items if not self._at_once[name].isdisjoint(item.on)]
            for name, items in self.outbound.items()
        }
        successors = {name: [target for item in items for target in item.steps] for name, items in taken.items()}
        groups: dict[int, list[str]] = {}
        for name, number in graph.components(successors).items():
            groups.setdefault(number, []).append(name)
        table: dict[str, dict[str, None]] = {}
        # what a group leads to comes before it; those that lead to each other need the same
        for group in groups.values():
            names: dict[str, None] = {}
            for name in group:
                names.update(dict.fromkeys(self.steps[name].conditions))
                for item in taken[name]:
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

    def join_size(self, step: str) -> int | None:
        """How many distinct predecessors must arrive before `step` starts; None: each arrival starts it."""
        join = self.steps[step].join
        return len(self.predecessors[step]) if isinstance(join, str) else join

    def is_join(self, step: str) -> bool:
        """Say whether `step` counts arrivals."""
        return step in self.joins

    def is_back(self, source: str, step: str) -> bool:
        """Say whether an edge from `source` to `step` stays on a cycle of theirs."""
        return source in self.cycles and self.cycles[source] == self.cycles.get(step)

    def _repeats_itself(self, step: str) -> bool:
        return any("retry" in item.to for item in self.outbound[step])
