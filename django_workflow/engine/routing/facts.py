"""What a decision is made of: what it may look at, what ended, what it comes to. Pure: no Django, no database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django_workflow.definition.elements import StepSpec
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.statuses import RUNNING
from django_workflow.text import storable

Error = dict[str, Any]
#: The scope in which a run begins; every other one is the id of the step run that opened it.
OUTERMOST = 0
#: What a retry does with an activation of a run that failed, where it is not just kept: it executes it anew; follows
#: its end anew, for what it led to was cut off; leaves it out, for it comes again by that; or cannot go on at all, for
#: what ended the run has led on to others.
REDO, FOLLOW, LEAVE, FINAL = "redo", "follow", "leave", "final"


@dataclass(slots=True)
class StepEnd:
    """A step run reached a terminal status; `is_cascade` skips its dependents too.

    id: of the step run. variables: the id of its variables.
    ends_run: no transition handles the failure.
    """

    step: str
    status: str
    is_cascade: bool = False
    error: Error | None = None
    id: int = 0
    scope: int = OUTERMOST
    iteration: int = 1
    variables: int | None = None
    ends_run: bool = False


@dataclass(slots=True)
class Activation:
    """A step run that this decision makes: running with tasks, or settled at once.

    is_woken: it waited at its join before this decision. source: the step run that led to it.
    delay: seconds until its tasks are due. max_parallel: how many of them may be in flight, None all.
    """

    step: StepSpec
    status: str = RUNNING
    items: Sequence[Any] | None = None
    task_count: int = 0
    max_parallel: int | None = None
    reason: str = ""
    error: Error | None = None
    id: int = 0
    is_woken: bool = False
    scope: int = OUTERMOST
    iteration: int = 1
    source: int | None = None
    variables: int | None = None
    delay: float = 0.0


@dataclass(slots=True)
class Waiting:
    """A step run that waits at its join for further arrivals."""

    id: int
    step: str
    scope: int
    iteration: int


@dataclass(slots=True)
class NewArrival:
    """A predecessor reached a join, or will after `delay` seconds: then it has no generation yet.

    step_run: the activation it counts for. source_run: the one that arrived.
    Without a delay and a generation it stays as it is, for the run fails; a retry has it arrive.
    """

    step: str
    source: str
    is_cascade: bool = False
    scope: int = OUTERMOST
    generation: int | None = 1
    step_run: int | None = None
    source_run: int | None = None
    variables: int | None = None
    delay: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Again:
    """An activation of an earlier run that is begun anew in the run that follows it, in the same place."""

    step: str
    id: int
    scope: int
    iteration: int
    source: int | None
    variables: int | None


@dataclass(frozen=True, slots=True)
class Variables:
    """What a branch knows by name; stamps: the row in which each name was written last."""

    id: int | None
    values: Mapping[str, Any]
    stamps: Mapping[str, int]


NO_VARIABLES = Variables(None, {}, {})


@dataclass(frozen=True, slots=True)
class Arrived:
    """One arrival that a join has seen."""

    is_cascade: bool = False
    variables: int | None = None


@dataclass(slots=True)
class Generation:
    """What a join has seen of one generation in one scope.

    step_run: the activation it counts for, once there is one. is_fired: that one waits no more.
    """

    arrived: dict[str, Arrived] = field(default_factory=dict)
    step_run: int | None = None
    iteration: int = 1
    is_fired: bool = False


@dataclass(frozen=True, slots=True)
class Unfired:
    """A join that waits when nothing else is left in its run."""

    step: str
    scope: int
    generation: int
    sources: tuple[str, ...]


class RunState:
    """What a decision may ask of a run, read when it asks; a run that begins has none of it.

    It also gives the ids of rows to be: those of variables ascend within a run.
    """

    def __init__(self) -> None:
        self._ids = 0

    def outputs(self, scope: int) -> Mapping[str, Any]:
        """Return the outputs of succeeded steps by name, as seen from a scope: its own, else the enclosing ones'."""
        return {}

    def result(self, end: StepEnd) -> Any:
        """Return what the step run that ended gave."""
        return self.outputs(end.scope).get(end.step)

    def failures(self, end: StepEnd) -> Sequence[Mapping[str, Any]]:
        """Return index, class and message of the items of a map that failed for good."""
        return ()

    def statuses(self, scope: int) -> Mapping[str, str]:
        """Return the latest status of every step that was reached, as seen from a scope."""
        return {}

    def variables(self, key: int) -> Variables:
        """Return variables that are stored."""
        raise KeyError(key)

    def last_iteration(self, step: str, scope: int) -> int:
        """Return how often a step was activated in a scope."""
        return 0

    def last_generation(self, step: str, scope: int, source: str) -> int:
        """Return how often a source has arrived at a join in a scope."""
        return 0

    def generation(self, step: str, scope: int, number: int) -> Generation:
        """Return what a join has seen of a generation."""
        return Generation()

    def unfired(self) -> Sequence[Unfired]:
        """Return the joins that wait."""
        return ()

    def new_step_run(self) -> int:
        """Return the id of a step run to be."""
        self._ids += 1
        return self._ids

    def new_variables(self) -> int:
        """Return the id of variables to be, above all that the run has."""
        self._ids += 1
        return self._ids


@dataclass(slots=True)
class RunFacts:
    """What a decision may look at.

    input: the run's input. state: what it may ask besides.
    open_steps: step runs running before this decision, and arrivals on their way, those that end included.
    task_count: tasks made so far, where they are counted; max_tasks, max_iterations: the run's limits.
    variables: those of the branches that have ended. failing: why the run fails once nothing runs any more.
    max_output: bytes of JSON that variables, and the declared output, may each have.
    """

    input: Any = None
    state: RunState = field(default_factory=RunState)
    open_steps: int = 0
    task_count: int = 0
    max_tasks: int = 100_000
    max_iterations: int = 1_000
    variables: int | None = None
    failing: Error | None = None
    max_output: int = 1 << 20


@dataclass(slots=True)
class Decision:
    """What to write: activations, arrivals and variables in order, and how the run ends, if it does.

    output: what the flow declares as output. leftovers: joins that a later generation reached partly.
    on_retry: what a retry of the run does with activations, by their ids, where it is not just kept.
    """

    activations: list[Activation] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    arrivals: list[NewArrival] = field(default_factory=list)
    variables: list[Variables] = field(default_factory=list)
    open_steps: int = 0
    task_count: int = 0
    final_variables: int | None = None
    failing: Error | None = None
    status: str | None = None
    error: Error | None = None
    output: dict[str, Any] | None = None
    leftovers: list[Unfired] = field(default_factory=list)
    on_retry: dict[int, str] = field(default_factory=dict)


def error_of(step: str, error_class: str, message: str) -> Error:
    """Return the record of what ended a step or a run."""
    return {"step": step, "class": error_class, "message": storable(message)}


#: What a step gave that did not succeed.
NOTHING: Any = object()


class Renewed(Mapping[str, Any]):
    """Outputs of which some are older than what this decision settled: that counts, also where it gave nothing."""

    def __init__(self, settled: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        self._settled = settled
        self._outputs = outputs

    def __getitem__(self, name: str) -> Any:
        if name not in self._settled:
            return self._outputs[name]
        if self._settled[name] is NOTHING:
            raise KeyError(name)
        return self._settled[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in dict.fromkeys((*self._settled, *self._outputs)) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Visible(Mapping[str, Any]):
    """Outputs as an expression sees them: a step that was skipped or has not run gives None.

    So does one that is not in the run's version and in today's code: a condition of today may ask for it.
    failure: why an output could not be read, where that happened.
    """

    def __init__(self, outputs: Mapping[str, Any], spec: FlowSpec) -> None:
        self._outputs = outputs
        self._spec = spec
        self.failure: Exception | None = None

    def __getitem__(self, name: str) -> Any:
        if name not in self._spec.steps:
            if name not in registry.steps_declared(self._spec.slug):
                raise KeyError(name)
            return None
        try:
            return self._outputs.get(name)
        except Exception as failure:
            self.failure = failure
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(self._spec.steps)

    def __len__(self) -> int:
        return len(self._spec.steps)
