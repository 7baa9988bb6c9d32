"""A run without a database: what `decide` says is noted, until the run settles."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_workflow.definition.spec import MAP, FlowSpec
from django_workflow.engine.routing import Activation, Decision, RunFacts, StepEnd, decide
from django_workflow.statuses import FAILED, RUNNING, SKIPPED, SUCCEEDED


@dataclass(frozen=True)
class Ends:
    """How a step ends that does not simply succeed."""

    status: str
    is_cascade: bool = False


FAILS, SKIPS, CASCADES = Ends(FAILED), Ends(SKIPPED), Ends(SKIPPED, is_cascade=True)


@dataclass
class Play:
    """One run of `spec`, whose steps end as `results` say: with an output, or as `Ends`; by default with their name.

    chance: decides which running steps end next, and how many at once; None ends the oldest.
    """

    spec: FlowSpec
    results: Mapping[str, Any] = field(default_factory=dict)
    input: Any = None
    chance: random.Random | None = None
    max_tasks: int = 100_000

    def __post_init__(self) -> None:
        self.outputs: dict[str, Any] = {}
        self.steps: dict[str, str] = {}
        self.made: dict[str, Activation] = {}
        self.arrivals: dict[str, dict[str, bool]] = {}
        self.waiting: dict[str, int] = {}
        self.running: list[str] = []
        self.status: str | None = None
        self.error: dict[str, Any] | None = None
        self.open_steps = self.task_count = self.rounds = 0

    def run(self) -> Play:
        """Play until the run settles."""
        self.note(decide(self.spec, self.facts(), is_start=True))
        while self.status is None:
            assert self.running, f"nothing runs and the run is not settled: {self.steps}"
            self.note(decide(self.spec, self.facts(), [self.end(name) for name in self.pick()]))
        return self

    def facts(self) -> RunFacts:
        return RunFacts(
            self.input, self.outputs, self.open_steps, self.task_count, self.max_tasks, self.arrivals, self.waiting
        )

    def pick(self) -> list[str]:
        count = 1
        if self.chance is not None:
            self.chance.shuffle(self.running)
            count = self.chance.randint(1, len(self.running))
        picked, self.running = self.running[:count], self.running[count:]
        return picked

    def end(self, name: str) -> StepEnd:
        result = self.results.get(name, name)
        if isinstance(result, Ends):
            self.steps[name] = result.status
            return StepEnd(name, result.status, result.is_cascade)
        step, activation = self.spec.steps[name], self.made[name]
        self.outputs[name] = [result] * activation.task_count if step.kind == MAP else result
        self.steps[name] = SUCCEEDED
        return StepEnd(name, SUCCEEDED)

    def note(self, decision: Decision) -> None:
        """Write down a decision as the engine would, and refuse what the database would refuse."""
        self.rounds += 1
        for arrival in decision.arrivals:
            sources = self.arrivals.setdefault(arrival.step, {})
            assert arrival.source not in sources, "a source arrives once"
            sources[arrival.source] = arrival.is_cascade
        for name in decision.waiting:
            assert name not in self.waiting, "a join waits once"
            self.waiting[name] = len(self.waiting)
        for item in decision.activations:
            self.activate(item)
        self.open_steps, self.task_count = decision.open_steps, decision.task_count
        self.status, self.error = decision.status, decision.error
        assert self.open_steps == len(self.running), "open steps are those that run"

    def activate(self, item: Activation) -> None:
        name = item.step.name
        assert name not in self.made, "a step is activated once"
        assert all(source in self.steps and source not in self.running for source in self.spec.predecessors[name])
        assert item.waiting_id == self.waiting.get(name), "a waiting join is woken, not made again"
        self.made[name] = item
        self.steps[name] = item.status
        if item.status == RUNNING:
            self.running.append(name)
        elif item.status == SUCCEEDED:
            self.outputs[name] = []

    @property
    def reasons(self) -> dict[str, str]:
        """Why steps were skipped or failed before they began."""
        return {name: item.reason for name, item in self.made.items() if item.reason}

    @property
    def count(self) -> Counter[str]:
        """How many steps came to each status."""
        return Counter(self.steps.values())
