"""The expressions of a definition, whatever language they are in: what conditions, values and outputs come to.

Flows declared in code and this package's documents speak its own language (`native`); documents of
other kinds bring theirs, registered by name as code is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from contextvars import copy_context
from typing import Any, Protocol

from django_workflow.definition.containment import leave_to_operator, surrounded, text_of
from django_workflow.definition.dialect import NATIVE
from django_workflow.definition.elements import LANGUAGE_PREFIX, Assignment, Condition
from django_workflow.definition.expressions.native import evaluate
from django_workflow.definition.registry import parameters, registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import ExpressionError

#: What an expression sees, read when it is asked for. In routing: input, vars, outputs and, of the step that ended,
#: result, status, error and iteration; `statuses` are the steps' latest ones, for languages that ask for them.
#: In arguments: input, vars, outputs, iteration, item and index.
Names = Mapping[str, Any]


class Language(Protocol):
    """How expressions of one language are evaluated; every error is an `ExpressionError`."""

    def variables(self, spec: FlowSpec, names: Names) -> dict[str, Any]:
        """Return the variables a run begins with; `names` are input and outputs, which are none yet."""

    def holds(self, condition: Condition, names: Names) -> bool:
        """Say whether a condition holds."""

    def value(self, written: Any, names: Names) -> Any:
        """Return what a written value stands for: what an expression comes to, anything else as it is."""

    def failed_result(self, error: Mapping[str, Any]) -> Any:
        """Return the result of a failed item, by class and message of its error, where a map has results of all."""

    def outputs(self, spec: FlowSpec, names: Names, *, is_partial: bool = False) -> dict[str, Any]:
        """Return the declared output of a run; `names` are input, vars and outputs.

        is_partial: leave out what cannot be evaluated, as of a run that failed.
        """


class Native:
    """The language of `native`: text is an expression, anything else the value itself."""

    def variables(self, spec: FlowSpec, names: Names) -> dict[str, Any]:
        """Return the variables a run begins with, each seeing the earlier ones as `vars`."""
        known: dict[str, Any] = {}
        for item in spec.vars:
            known[item.name] = self.value(item.value, Scoped(names, vars=known))
        return known

    def holds(self, condition: Condition, names: Names) -> bool:
        """Evaluate the expression, or ask the registered function."""
        if condition.callable is not None:
            return ask(condition.callable, names)
        assert condition.expression is not None
        return bool(evaluate(condition.expression, names))

    def value(self, written: Any, names: Names) -> Any:
        """Evaluate text; return a copy of anything else."""
        return evaluate(written, names) if isinstance(written, str) else copy.deepcopy(written)

    def failed_result(self, error: Mapping[str, Any]) -> None:
        """Return none: the place of a failed item is empty."""

    def outputs(self, spec: FlowSpec, names: Names, *, is_partial: bool = False) -> dict[str, Any]:
        """Return the declared output."""
        values = {}
        for item in spec.output:
            with suppress(ExpressionError) if is_partial else nullcontext():
                values[item.name] = self.value(item.value, names)
        return values


_native = Native()


def language_of(spec: FlowSpec) -> Language:
    """Return the language of a definition; raises `UnregisteredHandler` where this process does not have it."""
    if spec.language == NATIVE:
        return _native
    registered: Any = registry.callable(LANGUAGE_PREFIX + spec.language)
    language: Language = registered
    return language


class Scoped(Mapping[str, Any]):
    """Names with some of them replaced."""

    def __init__(self, names: Names, **replaced: Any) -> None:
        self._names = names
        self._replaced = replaced

    def __getitem__(self, name: str) -> Any:
        return self._replaced[name] if name in self._replaced else self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._names), **self._replaced})

    def __len__(self) -> int:
        return len({*self._names, *self._replaced})


class Lazy(Mapping[str, Any]):
    """Names of which some are read at first access, each once."""

    def __init__(self, known: Mapping[str, Any], **readers: Callable[[], Any]) -> None:
        self._known = dict(known)
        self._readers = readers

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._readers[name]()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._known), **dict.fromkeys(self._readers)})

    def __len__(self) -> int:
        return len({*self._known, *self._readers})


def assign(items: tuple[Assignment, ...], known: Mapping[str, Any], language: Language, names: Names) -> dict[str, Any]:
    """Return variables after assignments, made in order: each sees those before it as `vars`."""
    values = dict(known)
    for item in items:
        value = language.value(item.value, Scoped(names, vars=values))
        values[item.name] = merged(values.get(item.name), value) if item.is_merge else value
    return values


def merged(one: Any, other: Any) -> Any:
    """Return `other` merged into `one` where both are objects, at every depth, else `other`."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return other
    return {**one, **{key: merged(one.get(key), value) for key, value in other.items()}}


def ask(name: str, names: Names) -> bool:
    """Call the registered condition `name` with copies of what its parameters name."""
    predicate = registry.callable(name)
    arguments: dict[str, Any] = {}
    for item in parameters(predicate):
        if item.name == "outputs":
            arguments[item.name] = Copied(names[item.name])
        elif item.name in names:
            arguments[item.name] = copy.deepcopy(names[item.name])
    try:
        with surrounded():
            # what it sets in its context (variables, language, time zone) is for nobody else
            return bool(copy_context().run(predicate, **arguments))
    except BaseException as error:
        leave_to_operator(error)
        raise ExpressionError(f"{name}() raised {type(error).__name__}: {text_of(error)}") from error


class Copied(Mapping[str, Any]):
    """A mapping whose values are copied when read, for code that could change them."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self._source = source

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(self._source[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)
