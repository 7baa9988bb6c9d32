"""What the expressions of a decision see, and how their mistakes differ from data that cannot be read. Pure."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django_workflow.definition.containment import leave_to_operator, text_of
from django_workflow.definition.elements import LONGEST_TIME, MAP
from django_workflow.definition.expressions.language import Language, Lazy, language_of
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import NOTHING, Activation, Renewed, RunFacts, StepEnd, Visible
from django_workflow.engine.routing.variables import Branches
from django_workflow.exceptions import ExpressionError, UnregisteredHandler
from django_workflow.statuses import FAILED, SUCCEEDED

T = TypeVar("T")


class Names(Lazy):
    """Names that remember why one could not be read."""

    @property
    def failure(self) -> Exception | None:
        """Why data could not be read, where that happened."""
        if self._failure is not None:
            return self._failure
        outputs = self._known.get("outputs")
        return outputs.failure if isinstance(outputs, Visible) else None

    _failure: Exception | None = None

    def add_reader(self, name: str, reader: Callable[[], Any]) -> None:
        """Add a name that is read when it is asked for."""
        self._readers[name] = reader

    def __getitem__(self, name: str) -> Any:
        if name not in self._known and name not in self._readers:
            raise KeyError(name)
        try:
            return super().__getitem__(name)
        except Exception as failure:
            self._failure = failure
            raise


class EvaluationContext:
    """The names of one decision: from the run's rows, and from what the decision has come to, of which no row tells."""

    def __init__(self, spec: FlowSpec, facts: RunFacts, branches: Branches) -> None:
        self.spec = spec
        self.facts = facts
        self.branches = branches
        # scopes opened here, each with the one around it; what steps settled here gave, and maps among them
        self._opened: dict[int, int] = {}
        self._settled: dict[int, dict[str, Any]] = {}
        self._empty_maps: set[int] = set()

    @property
    def language(self) -> Language:
        """The language of the flow's expressions; raises `UnregisteredHandler` where this process does not have it."""
        return language_of(self.spec)

    def open(self, scope: int, around: int) -> None:
        """Know a scope that begins with this decision."""
        self._opened[scope] = around

    def settle(self, activation: Activation) -> None:
        """Know an activation that ends with this decision; of those that succeed at once each is an empty map."""
        is_map = activation.status == SUCCEEDED
        if is_map:
            self._empty_maps.add(activation.id)
        self._settled.setdefault(activation.scope, {})[activation.step.name] = [] if is_map else NOTHING

    def outputs(self, scope: int) -> Mapping[str, Any]:
        """Return the outputs of steps as they are seen in a scope."""
        settled = [self._settled[place] for place in self._scopes(scope) if place in self._settled]
        known = self.facts.state.outputs(self._stored_scope(scope))
        return Renewed(ChainMap(*settled), known) if settled else known

    def names(self, scope: int, variables: int | None, **more: Any) -> Names:
        """Return what an expression sees, read when it is asked for."""
        names = Names(
            more,
            input=lambda: self.facts.input,
            vars=lambda: self.branches.variables(variables).values,
            outputs=lambda: Visible(self.outputs(scope), self.spec),
        )
        if self.spec.dialect.sees_statuses:
            names.add_reader("statuses", lambda: self.facts.state.statuses(self._stored_scope(scope)))
        return names

    def names_after(self, end: StepEnd, variables: int | None = None) -> Names:
        """Return what the transitions of an ended step see."""
        names = self.names(
            end.scope, variables or end.variables, status=end.status, error=end.error, iteration=end.iteration
        )
        names.add_reader("result", lambda: self._result(end))
        return names

    def _result(self, end: StepEnd) -> Any:
        has_parts = (
            self.spec.dialect.keeps_partial_maps and end.status == FAILED and self.spec.steps[end.step].kind == MAP
        )
        if end.status != SUCCEEDED and not has_parts:
            return None
        if end.id in self._empty_maps:
            return []
        value = self.facts.state.result(end)
        if has_parts:
            for failure in self.facts.state.failures(end):
                value[failure["index"]] = self.language.failed_result(failure)
        return value

    def _scopes(self, scope: int) -> list[int]:
        """Return a scope and those around it, up to the first that was there before this decision."""
        chain = [scope]
        while chain[-1] in self._opened:
            chain.append(self._opened[chain[-1]])
        return chain

    def _stored_scope(self, scope: int) -> int:
        """Return the innermost scope around one that has rows: one opened here has none yet."""
        return self._scopes(scope)[-1]


def evaluated(place: str, names: Names, work: Callable[[], T]) -> T:
    """Do the work of an expression; an error of it names its place."""
    try:
        return work()
    except UnregisteredHandler:
        raise
    except BaseException as error:
        leave_to_operator(error)
        if names.failure is not None:
            # the data could not be read, which says nothing about the expression
            raise names.failure from None
        what = error.message if isinstance(error, ExpressionError) else f"{type(error).__name__}: {text_of(error)}"
        raise ExpressionError(f"{place}: {what}", expression=getattr(error, "expression", "")) from error


def seconds(delay: float | str | None, place: str, names: Names, language: Language) -> float:
    """Return a delay in seconds; text is an expression that gives it."""
    value: Any = delay
    if isinstance(delay, str):
        value = evaluated(place, names, lambda: language.value(delay, names))
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value >= 0 and math.isfinite(value)):
        raise ExpressionError(f"{place}: a number of seconds from 0 is needed, not {value!r}", expression=str(delay))
    if value > LONGEST_TIME.total_seconds():
        raise ExpressionError(
            f"{place}: it may be at most {LONGEST_TIME.days} days, not {value!r} s", expression=str(delay)
        )
    return float(value)
