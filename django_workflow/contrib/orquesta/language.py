"""Orquesta's expressions as a language of definitions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any

from django_workflow.contrib.orquesta.compiling import LANGUAGE
from django_workflow.contrib.orquesta.expressions import texts
from django_workflow.contrib.orquesta.expressions.functions import failed_result
from django_workflow.definition.elements import LANGUAGE_PREFIX, Condition
from django_workflow.definition.expressions.language import Names, Scoped
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import ExpressionError


class Orquesta:
    """The language of Orquesta documents: text may hold expressions, in YAQL or in Jinja."""

    def variables(self, spec: FlowSpec, names: Names) -> dict[str, Any]:
        """Return the variables a run begins with: what it takes of the input, then its own, each seeing the earlier.

        What a run was started with is taken as it is: only the document's defaults are evaluated.
        """
        given = names["input"]
        if given is not None and not isinstance(given, Mapping):
            raise ExpressionError(f"The input must be an object with values by name, not {type(given).__name__}.")
        known: dict[str, Any] = {}
        for item in spec.inputs:
            if given and item.name in given:
                known[item.name] = copy.deepcopy(given[item.name])
            else:
                known[item.name] = self.value(item.value, Scoped(names, vars=known))
        for item in spec.vars:
            known[item.name] = self.value(item.value, Scoped(names, vars=known))
        return known

    def holds(self, condition: Condition, names: Names) -> bool:
        """Say whether what a condition comes to counts as true."""
        assert condition.expression is not None
        return bool(texts.evaluate(condition.expression, names))

    def value(self, written: Any, names: Names) -> Any:
        """Return a value with all its texts evaluated."""
        return texts.evaluate_within(written, names)

    def failed_result(self, error: Mapping[str, Any]) -> Any:
        """Return what `result()` of a task has in the place of an item that failed."""
        return failed_result(error)

    def outputs(self, spec: FlowSpec, names: Names, *, is_partial: bool = False) -> dict[str, Any]:
        """Return the declared output; each value sees the earlier ones as variables."""
        known, values = dict(names["vars"] or {}), {}
        for item in spec.output:
            with suppress(ExpressionError) if is_partial else nullcontext():
                values[item.name] = known[item.name] = self.value(item.value, Scoped(names, vars=known))
        return values


def register() -> None:
    """Make the language known to this process."""
    language: Any = Orquesta()
    registry.add_callable(LANGUAGE_PREFIX + LANGUAGE, language)
