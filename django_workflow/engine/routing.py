"""The decision in the middle of every verb: given what ended, what starts, waits, is skipped, or ends.

Pure: no Django, no database. `decide` looks at the steps that ended, their successors and the run,
never at the whole graph, and works through chains of skips and empty maps in a loop, so a chain of
1,000 of them is no recursion.
"""

from __future__ import annotations

import copy
from collections import ChainMap, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django_workflow.definition.expressions import evaluate
from django_workflow.definition.registry import parameters, registry
from django_workflow.definition.spec import MAP, FlowSpec, StepSpec
from django_workflow.exceptions import ExpressionError, TypeViolation, UnregisteredHandler
from django_workflow.statuses import FAILED, RUNNING, SKIPPED, SUCCEEDED

CONDITION_UNMET = "condition_unmet"
DEPENDENCY_SKIPPED = "dependency_skipped"

Error = dict[str, Any]


@dataclass(slots=True)
class StepEnd:
    """A step run reached a terminal status; `is_cascade` skips its dependents too."""

    step: str
    status: str
    is_cascade: bool = False
    error: Error | None = None


@dataclass(slots=True)
class Activation:
    """A step run that this decision makes: running with tasks, or settled at once.

    waiting_id: the step run that waited for this join, where an earlier decision made one.
    """

    step: StepSpec
    status: str = RUNNING
    items: Sequence[Any] | None = None
    task_count: int = 0
    reason: str = ""
    error: Error | None = None
    waiting_id: int | None = None


@dataclass(slots=True)
class NewArrival:
    """A predecessor reached a join."""

    step: str
    source: str
    is_cascade: bool = False


@dataclass(slots=True)
class RunFacts:
    """What a decision may look at.

    input: the run's input; outputs: settled steps' outputs by name, read when needed.
    open_steps: step runs running before this decision, those in `ends` included.
    task_count: tasks made by map steps so far; max_tasks: the run's limit.
    arrivals: join -> source -> whether its skip cascades.
    waiting: join -> id of the step run that an earlier arrival made for it.
    """

    input: Any = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    open_steps: int = 0
    task_count: int = 0
    max_tasks: int = 100_000
    arrivals: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    waiting: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Decision:
    """What to write: activations and arrivals in order, and how the run ends, if it does."""

    activations: list[Activation] = field(default_factory=list)
    arrivals: list[NewArrival] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    open_steps: int = 0
    task_count: int = 0
    status: str | None = None
    error: Error | None = None


def decide(spec: FlowSpec, facts: RunFacts, ends: Sequence[StepEnd] = (), *, is_start: bool = False) -> Decision:
    """Return what follows from the steps in `ends`, or from the start of the run.

    spec: the run's pinned definition.
    facts: what is known of the run, read under its lock.
    ends: step runs that have just become terminal.
    """
    return _Routing(spec, facts, ends).route(is_start=is_start)


def error_of(step: str, error_class: str, message: str) -> Error:
    """Return the record of what ended a step or a run."""
    return {"step": step, "class": error_class, "message": storable(message)}


def storable(text: str) -> str:
    """Return text without what PostgreSQL refuses: NUL and lone surrogates."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode("utf-8")


class _Routing:
    """One decision being made."""

    def __init__(self, spec: FlowSpec, facts: RunFacts, ends: Sequence[StepEnd]) -> None:
        self.spec = spec
        self.facts = facts
        self.pending = deque(ends)
        self.arrived: dict[str, dict[str, bool]] = {}
        # empty maps settled here have an output that no row tells yet
        self.emptied: dict[str, Any] = {}
        self.outputs = ChainMap(self.emptied, facts.outputs)  # type: ignore[arg-type]
        self.decision = Decision(open_steps=facts.open_steps - len(ends), task_count=facts.task_count)

    def route(self, *, is_start: bool) -> Decision:
        if is_start:
            for name in self.spec.entry:
                if self.decision.status is None:
                    self.activate(self.spec.steps[name])
        while self.pending and self.decision.status is None:
            self.follow(self.pending.popleft())
        if self.decision.status is None and self.decision.open_steps == 0:
            self.decision.status = SUCCEEDED
        return self.decision

    def follow(self, end: StepEnd) -> None:
        """Fire every transition of an ended step that its outcome matches."""
        fired = [item for item in self.spec.outbound[end.step] if end.status in item.on]
        if end.status == FAILED and not fired:
            self.fail_run(end.error or error_of(end.step, "StepFailed", "the step failed"))
            return
        for transition in fired:
            if self.decision.status is None:
                self.arrive(transition.to, end.step, is_cascade=end.is_cascade)

    def arrive(self, target: str, source: str, *, is_cascade: bool) -> None:
        """Count an arrival; the last one a join waits for activates it."""
        size = self.spec.join_size(target)
        if size is None or size == len(self.spec.predecessors[target]) == 1:
            self.activate(self.spec.steps[target], is_cascade=is_cascade)
            return
        arrived = self.arrived.setdefault(target, dict(self.facts.arrivals.get(target, {})))
        if source in arrived:
            return
        if not arrived:
            self.decision.waiting.append(target)
        arrived[source] = is_cascade
        self.decision.arrivals.append(NewArrival(target, source, is_cascade))
        if len(arrived) == size:
            if target in self.decision.waiting:
                self.decision.waiting.remove(target)
            self.activate(self.spec.steps[target], is_cascade=any(arrived.values()))

    def activate(self, step: StepSpec, *, is_cascade: bool = False) -> None:
        """Start a step, or settle it at once: skipped, an empty map, or failed before it began."""
        if is_cascade:
            self.settle_at_once(step, SKIPPED, DEPENDENCY_SKIPPED, is_cascade=True)
            return
        try:
            if step.when is not None and not self.condition_holds(step):
                self.unmet(step)
                return
            items, count = self.expand(step)
        except (ExpressionError, TypeViolation, UnregisteredHandler) as error:
            failure = error_of(step.name, type(error).__name__, error.message)
            self.settle_at_once(step, FAILED, error=failure)
            # an error of the definition is never handled by a transition: it is not an outcome of the step
            self.fail_run(failure)
            return
        if step.kind == MAP and count == 0:
            self.emptied[step.name] = []
            self.settle_at_once(step, SUCCEEDED)
            return
        if step.kind == MAP and not self.fits(step, count):
            return
        self.decision.open_steps += 1
        waiting_id = self.facts.waiting.get(step.name)
        self.decision.activations.append(Activation(step, items=items, task_count=count, waiting_id=waiting_id))

    def fits(self, step: StepSpec, count: int) -> bool:
        """Count a map's tasks; beyond the limit the run fails and nothing is made."""
        total = self.decision.task_count + count
        if total > self.facts.max_tasks:
            limit = f"MAX_TASKS is {self.facts.max_tasks:,}"
            message = f"{limit}; step {step.name!r} would bring the run to {total:,} tasks"
            failure = error_of(step.name, "LimitExceeded", message)
            self.settle_at_once(step, FAILED, error=failure)
            self.fail_run(failure)
            return False
        self.decision.task_count = total
        return True

    def unmet(self, step: StepSpec) -> None:
        """A false condition: skip, skip what follows too, or fail."""
        if step.on_unmet == "fail":
            failure = error_of(step.name, "ConditionUnmet", f"the condition {step.when} is not met")
            self.settle_at_once(step, FAILED, CONDITION_UNMET, error=failure)
        else:
            cascade = step.on_unmet == "skip_cascade"
            self.settle_at_once(step, SKIPPED, CONDITION_UNMET, is_cascade=cascade)

    def settle_at_once(
        self, step: StepSpec, status: str, reason: str = "", *, is_cascade: bool = False, error: Error | None = None
    ) -> None:
        waiting_id = self.facts.waiting.get(step.name)
        self.decision.activations.append(Activation(step, status, reason=reason, error=error, waiting_id=waiting_id))
        self.pending.append(StepEnd(step.name, status, is_cascade, error))

    def fail_run(self, error: Error) -> None:
        """Fail fast: what has not started yet will not start."""
        decision = self.decision
        decision.status, decision.error = FAILED, error
        running = [item for item in decision.activations if item.status == RUNNING]
        decision.activations = [item for item in decision.activations if item.status != RUNNING]
        decision.open_steps -= len(running)
        decision.task_count = self.facts.task_count
        decision.waiting.clear()
        decision.arrivals.clear()

    def condition_holds(self, step: StepSpec) -> bool:
        condition = step.when
        assert condition is not None
        outputs = _Visible(self.outputs, self.spec)
        names = {"input": self.facts.input, "outputs": outputs, "vars": {}}
        try:
            if condition.callable is not None:
                return _ask(condition.callable, names)
            assert condition.expression is not None
            return bool(evaluate(condition.expression, names))
        except UnregisteredHandler:
            raise
        except Exception as error:
            if outputs.failure is not None:
                # the data could not be read, which says nothing about the condition
                raise outputs.failure from None
            # never silently false: the author's mistake ends the run with its words
            what = (
                error.message
                if isinstance(error, ExpressionError)
                else f"{condition} raised {type(error).__name__}: {error}"
            )
            raise ExpressionError(f"condition of step {step.name!r}: {what}", expression=str(condition)) from error

    def expand(self, step: StepSpec) -> tuple[Sequence[Any] | None, int]:
        """Return a step's items and how many tasks it gets."""
        if step.kind != MAP:
            return None, 1
        if step.count is not None:
            return None, step.count
        source, *keys = step.over_path
        if source == "input":
            value = self.facts.input
        elif source in self.outputs:
            value = self.outputs[source]
        else:
            return [], 0  # a skipped source maps to []
        for depth, key in enumerate(keys, start=1):
            if not isinstance(value, Mapping) or key not in value:
                path = ".".join(step.over_path[: depth + 1])
                raise TypeViolation(
                    f"step {step.name!r} maps over {step.over!r}, but {source!r} gave no {path!r} "
                    f"({type(value).__name__} found)"
                )
            value = value[key]
        if not isinstance(value, list):
            raise TypeViolation(
                f"step {step.name!r} maps over {step.over!r}, which needs a list from {source!r}; "
                f"{type(value).__name__} found"
            )
        return value, len(value)


def _ask(name: str, names: Mapping[str, Any]) -> bool:
    """Call the registered condition `name` with copies of what its parameters name."""
    predicate = registry.callable(name)
    arguments: dict[str, Any] = {}
    for item in parameters(predicate):
        if item.name == "outputs":
            arguments[item.name] = _Copied(names[item.name])
        elif item.name in names:
            arguments[item.name] = copy.deepcopy(names[item.name])
    return bool(predicate(**arguments))


class _Visible(Mapping[str, Any]):
    """Outputs as a condition sees them: a step that was skipped or has not run gives None.

    failure: why an output could not be read, where that happened.
    """

    def __init__(self, outputs: Mapping[str, Any], spec: FlowSpec) -> None:
        self._outputs = outputs
        self._spec = spec
        self.failure: Exception | None = None

    def __getitem__(self, name: str) -> Any:
        if name not in self._spec.steps:
            raise KeyError(name)
        try:
            return self._outputs.get(name)
        except Exception as failure:
            self.failure = failure
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(self._spec.steps)

    def __len__(self) -> int:
        return len(self._spec.steps)


class _Copied(Mapping[str, Any]):
    """A mapping whose values are copied when read, for code that could change them."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = source

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(self._source[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)
