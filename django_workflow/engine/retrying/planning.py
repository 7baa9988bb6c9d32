"""What a retry takes over from the run it follows, and why it may not. Pure: no Django, no database.

A step is carried over as it is when it succeeded or was skipped and nothing that leads to it runs
again. A map step that runs again keeps its items that succeeded, unless it is the one an operator
wants to begin from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.definition.graph import reachable
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import StepEnd
from django_workflow.engine.routing.starting import CONDITION_UNMET, DEPENDENCY_SKIPPED
from django_workflow.statuses import SKIPPED, SUCCEEDED


@dataclass(frozen=True, slots=True)
class Past:
    """What a step came to in the run that is retried.

    has_error: it failed, or was skipped because it did. failed_count: failed tasks that ended it or were tolerated.
    has_results: tasks of its own succeeded or were skipped. is_overridden: an operator gave its output.
    """

    id: int
    status: str
    reason: str
    has_error: bool
    task_count: int
    failed_count: int
    has_results: bool
    is_overridden: bool

    @property
    def is_done(self) -> bool:
        """Whether there is a result to carry over."""
        return self.status in (SUCCEEDED, SKIPPED)

    @property
    def has_tolerated(self) -> bool:
        """Whether it is done though something in it failed."""
        return self.is_done and not self.is_overridden and (self.has_error or self.failed_count > 0)


@dataclass(slots=True)
class Plan:
    """What is carried over.

    whole: steps carried as they are. parts: map steps of which only the items that gave a result are.
    problems: why that cannot be.
    """

    whole: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def carried(self) -> set[str]:
        """Steps that the new run does not activate."""
        return {*self.whole, *self.parts}


def plan(
    old: FlowSpec, new: FlowSpec, past: Mapping[str, Past], *, from_step: str | None, is_success: bool, is_edited: bool
) -> Plan:
    """Return what a retry takes over from a run.

    old, new: the definitions of the run and of its retry. past: what its steps came to.
    from_step: begins there, else with what failed; of a run that succeeded, with the failures it tolerated.
    is_edited: whether the retry has another input.
    """
    begin = {name for name in old.steps if name not in past or not past[name].is_done}
    if is_success and from_step is None:
        begin |= {name for name, step in past.items() if step.has_tolerated}
    wanted = {from_step} if from_step is not None else set()
    anew = reachable(new.successors, wanted)
    again = reachable(old.successors, begin | wanted | anew)
    result = Plan(whole=[name for name in old.steps if name not in again])
    for name in old.steps:
        if name in begin - anew - wanted and _has_part(old, name, past, result.whole):
            result.parts.append(name)
    for name in (*result.whole, *result.parts):
        result.problems += _misfits(old, new, name, is_part=name in result.parts)
        if is_edited:
            result.problems += _readers(old.steps[name])
    return result


def _has_part(spec: FlowSpec, name: str, past: Mapping[str, Past], whole: Iterable[str]) -> bool:
    if spec.steps[name].kind != MAP or name not in past or not past[name].has_results:
        return False
    return set(spec.predecessors[name]) <= set(whole)


def _misfits(old: FlowSpec, new: FlowSpec, name: str, *, is_part: bool) -> list[str]:
    """Return why a step of one version cannot be carried over into another."""
    if name not in new.steps:
        return [f"step {name!r} is not in that version"]
    before, after = old.steps[name], new.steps[name]
    if before.kind != after.kind:
        return [f"step {name!r} was a {before.kind} step and is a {after.kind} step in that version"]
    sources, wanted = set(old.predecessors[name]), set(new.predecessors[name])
    if sources != wanted:
        return [f"step {name!r} depends on {_list(wanted)} in that version, and it ran after {_list(sources)}"]
    if is_part and (before.over, before.count) != (after.over, after.count):
        return [f"map step {name!r} has other items in that version"]
    return []


def _readers(step: StepSpec) -> list[str]:
    """Return how a step's result may depend on the run's input."""
    if "input" in step.params:
        return [f"step {step.name!r} has run with the input as it was"]
    if step.over_path[:1] == ("input",):
        return [f"map step {step.name!r} took its items from the input as it was"]
    if step.when is not None:
        return [f"the condition of step {step.name!r} was decided with the input as it was"]
    return []


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "nothing"


def end_of(step: StepSpec, past: Past) -> StepEnd:
    """Return how a carried step ended, as routing asks for it."""
    is_cascade = cascades(step, past.status, past.reason, has_error=past.has_error, task_count=past.task_count)
    return StepEnd(step.name, past.status, is_cascade)


def cascades(step: StepSpec, status: str, reason: str, *, has_error: bool, task_count: int) -> bool:
    """Say whether a step was skipped in a way that takes what follows it along."""
    if status != SKIPPED:
        return False
    if has_error:
        return step.on_exhausted == "skip_cascade"
    is_unmet = reason == CONDITION_UNMET and step.on_unmet == "skip_cascade"
    return task_count == 0 and (is_unmet or reason == DEPENDENCY_SKIPPED)


def remainder(spec: FlowSpec, carried: set[str]) -> FlowSpec:
    """Return the definition in which nothing leads to the carried steps any more: they have been."""
    return replace(
        spec,
        entry=tuple(name for name in spec.entry if name not in carried),
        transitions=tuple(item for item in spec.transitions if not carried.issuperset(item.to)),
    )


class Outputs(Mapping[str, Any]):
    """The outputs of some steps: what is not carried over has not been, as far as routing goes."""

    def __init__(self, outputs: Mapping[str, Any], steps: Iterable[str]) -> None:
        self._outputs = outputs
        self._steps = frozenset(steps)

    def __getitem__(self, step: str) -> Any:
        if step not in self._steps:
            raise KeyError(step)
        return self._outputs[step]

    def __iter__(self) -> Iterator[str]:
        return (step for step in self._outputs if step in self._steps)

    def __len__(self) -> int:
        return sum(1 for _ in self)
