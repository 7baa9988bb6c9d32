"""A run without a database: what `decide` says is noted, until the run settles."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django_workflow.definition.elements import MAP
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.routing.facts import (
    OUTERMOST,
    Activation,
    Arrived,
    Decision,
    Generation,
    NewArrival,
    RunFacts,
    RunState,
    StepEnd,
    Unfired,
    Variables,
)
from django_workflow.statuses import FAILED, RUNNING, SKIPPED, SUCCEEDED


@dataclass(frozen=True)
class Ends:
    """How a step ends that does not simply succeed."""

    status: str
    is_cascade: bool = False


FAILS, SKIPS, CASCADES = Ends(FAILED), Ends(SKIPPED), Ends(SKIPPED, is_cascade=True)
#: What a step gives: a value, an end, or a function of its activation that gives one of them.
Result = Any


class Noted(RunState):
    """The state of a run as a list of what was decided."""

    def __init__(self, spec: FlowSpec) -> None:
        super().__init__()
        self.spec = spec
        self.step_runs: dict[int, Activation] = {}
        self.last: dict[tuple[str, int], int] = {}
        self.settled: dict[tuple[str, int], int] = {}
        self.ended: dict[int, str] = {}
        self.given: dict[int, Any] = {}
        self.stored: dict[int, Variables] = {}
        self.generations: dict[tuple[str, int, int], Generation] = {}
        self.waiting: dict[int, tuple[str, int, int]] = {}

    def scopes(self, scope: int) -> list[int]:
        chain = [scope]
        while chain[-1] != OUTERMOST:
            opener = self.step_runs[chain[-1]]
            chain.append(self.step_runs[opener.source].scope)
        return chain

    def latest(self, step: str, scope: int) -> int | None:
        found = (self.settled.get((step, place)) for place in self.scopes(scope))
        return next((key for key in found if key is not None), None)

    def add(self, item: Activation) -> None:
        place = (item.step.name, item.scope)
        before = self.last.get(place)
        if before is not None:
            assert self.step_runs[before].iteration != item.iteration, "a pass is one"
        if before is None or self.step_runs[before].iteration < item.iteration:
            self.last[place] = item.id
        self.step_runs[item.id] = item

    def end(self, key: int, status: str) -> None:
        self.ended[key] = status
        item = self.step_runs[key]
        before = self.settled.get((item.step.name, item.scope))
        if before is None or self.step_runs[before].iteration < item.iteration:
            self.settled[item.step.name, item.scope] = key

    def outputs(self, scope: int) -> Mapping[str, Any]:
        found = {}
        for step in self.spec.steps:
            key = self.latest(step, scope)
            if key is not None and self.ended.get(key) == SUCCEEDED:
                found[step] = self.given[key]
        return found

    def result(self, end: StepEnd) -> Any:
        return self.given[end.id]

    def variables(self, key: int) -> Variables:
        return self.stored[key]

    def last_iteration(self, step: str, scope: int) -> int:
        last = self.last.get((step, scope))
        seen = [number for name, place, number in self.waiting.values() if (name, place) == (step, scope)]
        return max([0 if last is None else self.step_runs[last].iteration, *seen])

    def last_generation(self, step: str, scope: int, source: str) -> int:
        seen = [number for (name, place, number), item in self.generations.items()
                if (name, place) == (step, scope) and source in item.arrived]  # fmt: skip
        return max(seen, default=0)

    def generation(self, step: str, scope: int, number: int) -> Generation:
        known = self.generations.get((step, scope, number))
        if known is None:
            return Generation()
        return Generation(dict(known.arrived), known.step_run, known.iteration, known.is_fired)

    def unfired(self) -> Sequence[Unfired]:
        return [
            Unfired(*key, tuple(item.arrived))
            for key, item in self.generations.items()
            if item.step_run in self.waiting
        ]


@dataclass
class Play:
    """One run of `spec`, whose steps end as `results` say; by default a step gives its name.

    chance: decides which running steps end next, and how many at once; None ends the oldest.
    """

    spec: FlowSpec
    results: Mapping[str, Result] = field(default_factory=dict)
    input: Any = None
    chance: random.Random | None = None
    max_tasks: int = 100_000
    max_iterations: int = 1_000
    max_output: int = 1 << 20

    def __post_init__(self) -> None:
        self.state = Noted(self.spec)
        self.running: list[int] = []
        self.delayed: list[NewArrival] = []
        self.fired: Counter[tuple[str, int, int]] = Counter()
        self.counted: dict[int | None, tuple[str, int, int]] = {}
        self.times: Counter[str] = Counter()
        self.status: str | None = None
        self.error: dict[str, Any] | None = None
        self.output: Any = None
        self.leftovers: list[Unfired] = []
        self.variables: int | None = None
        self.failing: dict[str, Any] | None = None
        self.open_steps = self.task_count = self.rounds = 0

    def run(self) -> Play:
        """Play until the run settles."""
        self.note(decide(self.spec, self.facts(), is_start=True))
        while self.status is None:
            assert self.running or self.delayed, f"nothing runs and the run is not settled: {self.steps}"
            due = self.pick(self.delayed) if not self.running or (self.chance and self.chance.random() < 0.5) else []
            ends = [] if due and (self.chance is None or self.chance.random() < 0.5) else self.pick(self.running)
            self.note(decide(self.spec, self.facts(), [self.end(key) for key in ends], arrivals=due))
        return self

    def facts(self) -> RunFacts:
        return RunFacts(
            self.input, self.state, self.open_steps, self.task_count, self.max_tasks, self.max_iterations,
            self.variables, self.failing, self.max_output,
        )  # fmt: skip

    def pick(self, waiting: list[Any]) -> list[Any]:
        if not waiting:
            return []
        count = 1
        if self.chance is not None:
            self.chance.shuffle(waiting)
            count = self.chance.randint(1, len(waiting))
        picked = waiting[:count]
        del waiting[:count]
        return picked

    def end(self, key: int) -> StepEnd:
        item = self.state.step_runs[key]
        name = item.step.name
        result = self.results.get(name, name)
        if isinstance(result, Callable):  # type: ignore[arg-type]
            result = result(item)
        status, is_cascade = SUCCEEDED, False
        if isinstance(result, Ends):
            status, is_cascade = result.status, result.is_cascade
        else:
            self.state.given[key] = [result] * item.task_count if item.step.kind == MAP else result
        self.state.end(key, status)
        error = {"step": name, "class": "Error", "message": "no"} if status == FAILED else None
        return StepEnd(name, status, is_cascade, error, key, item.scope, item.iteration, item.variables)

    def note(self, decision: Decision) -> None:
        """Write down a decision as the engine would, and refuse what the database would refuse."""
        self.rounds += 1
        for row in decision.variables:
            assert row.id not in self.state.stored, "variables are never changed"
            self.state.stored[row.id] = row
        for item in decision.waiting:
            assert item.id not in self.state.waiting, "a join waits once for a generation"
            self.state.waiting[item.id] = (item.step, item.scope, item.iteration)
        for arrival in decision.arrivals:
            self.arrive(arrival)
        for activation in decision.activations:
            self.activate(activation, is_over=decision.status == FAILED)
        self.open_steps, self.task_count = decision.open_steps, decision.task_count
        self.status, self.error, self.output = decision.status, decision.error, decision.output
        self.variables, self.failing = decision.final_variables, decision.failing
        self.leftovers += decision.leftovers
        assert self.status == FAILED or self.open_steps == len(self.running) + len(self.delayed), "what is open runs"

    def arrive(self, arrival: NewArrival) -> None:
        if arrival.generation is None:
            self.delayed.append(arrival)
            return
        key = (arrival.step, arrival.scope, arrival.generation)
        seen = self.state.generations.setdefault(key, Generation(step_run=arrival.step_run))
        assert arrival.source not in seen.arrived, "a source arrives once in a generation"
        assert arrival.step_run == seen.step_run, "a generation counts for one activation"
        self.counted[seen.step_run] = key
        seen.arrived[arrival.source] = Arrived(arrival.is_cascade, arrival.variables)
        if arrival.step_run in self.state.waiting:
            seen.iteration = self.state.waiting[arrival.step_run][2]

    def activate(self, item: Activation, *, is_over: bool) -> None:
        key, name = item.id, item.step.name
        assert key not in self.state.step_runs, "a step run is made once"
        assert item.is_woken == (key in self.state.waiting), "a waiting join is woken, not made again"
        self.state.waiting.pop(key, None)
        generation = self.counted.get(key)
        if generation is not None:
            seen = self.state.generations[generation]
            assert not seen.is_fired, "a join fires once in a generation"
            seen.is_fired = True
            assert is_over or len(seen.arrived) >= self.spec.join_size(name), "a join fires when it has all it counts"
            self.fired[generation] += 1
        self.times[name] += 1
        self.state.add(item)
        if item.status == RUNNING:
            self.running.append(key)
        else:
            self.state.end(key, item.status)
            if item.status == SUCCEEDED:
                self.state.given[key] = []

    @property
    def made(self) -> list[Activation]:
        """Every activation, in order."""
        return list(self.state.step_runs.values())

    def of(self, step: str) -> Activation:
        """The latest activation of a step."""
        return [item for item in self.made if item.step.name == step][-1]

    @property
    def steps(self) -> dict[str, str]:
        """The latest status of each step."""
        return {item.step.name: self.state.ended.get(key, item.status) for key, item in self.state.step_runs.items()}

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of succeeded steps."""
        return dict(self.state.outputs(OUTERMOST))

    @property
    def reasons(self) -> dict[str, str]:
        """Why steps were skipped or failed before they began."""
        return {item.step.name: item.reason for item in self.made if item.reason}

    @property
    def count(self) -> Counter[str]:
        """How many steps came to each status."""
        return Counter(self.steps.values())

    @property
    def values(self) -> Mapping[str, Any]:
        """The variables of the branches that have ended, where the flow declares an output."""
        return {} if self.variables is None else self.state.stored[self.variables].values

    def passes(self) -> dict[str, list[int]]:
        """The iterations of each step, in order."""
        table = defaultdict(list)
        for item in self.made:
            table[item.step.name].append(item.iteration)
        return dict(table)
