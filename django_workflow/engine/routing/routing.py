"""What one decision looks at, and what it has come to so far. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from django_workflow.definition.elements import TransitionSpec as Transition
from django_workflow.definition.expressions.language import Language
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.evaluation import EvaluationContext
from django_workflow.engine.routing.facts import Decision, Error, Generation, NewArrival, RunFacts, StepEnd
from django_workflow.engine.routing.variables import Branches
from django_workflow.exceptions import ExpressionError, TypeViolation, UnregisteredHandler

#: What is wrong with the definition or with what it meets, and never an outcome that a transition could catch.
MISTAKES = (ExpressionError, TypeViolation, UnregisteredHandler)


@dataclass(slots=True)
class Fired:
    """A transition that an end lets through."""

    transition: Transition
    #: The id of the variables behind it, and the seconds until it leads on.
    variables: int | None
    delay: float


class Routing:
    """A decision in the making."""

    __slots__ = (
        "arrivals_of", "branches", "context", "decision", "due", "ends", "excess", "facts", "generations", "iterations",
        "pending", "spec", "state",
    )  # fmt: skip

    def __init__(
        self, spec: FlowSpec, facts: RunFacts, ends: Sequence[StepEnd] = (), due: Sequence[NewArrival] = ()
    ) -> None:
        self.spec = spec
        self.facts = facts
        self.state = facts.state
        self.ends = ends
        #: Ends that are not followed yet.
        self.pending = deque(ends)
        #: Delayed arrivals that are due.
        self.due = due
        self.generations: dict[tuple[str, int, int], Generation] = {}
        self.arrivals_of: dict[tuple[str, int, str], int] = {}
        self.iterations: dict[tuple[str, int], int] = {}
        self.decision = Decision(
            open_steps=facts.open_steps - len(ends) - len(due),
            task_count=facts.task_count,
            final_variables=facts.variables,
            failing=facts.failing,
        )
        self.branches = Branches(facts.state, self.decision.variables, facts.max_output)
        self.context = EvaluationContext(spec, facts, self.branches)
        #: Why what the branches that ended know cannot be kept, where it cannot.
        self.excess: Error | None = None

    @property
    def language(self) -> Language:
        """The language of the flow's expressions; raises `UnregisteredHandler` where this process does not have it."""
        return self.context.language
