"""What expressions and functions of a definition may read, and what is wrong with those that read something else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django_workflow.definition import elements, names
from django_workflow.definition.expressions import references, syntax
from django_workflow.definition.problems import Path, Report
from django_workflow.definition.registry import parameters, registry
from django_workflow.definition.schemas import schema
from django_workflow.definition.validation.amounts import check_time
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import Transition, transitions_of
from django_workflow.spelling import guess, guess_or_list
from django_workflow.text import shown

#: What the expressions of each place may look at.
CONDITION_NAMES = frozenset({"input", "outputs", "vars"})
TRANSITION_NAMES = CONDITION_NAMES | {"result", "status", "error", "iteration"}
ARGUMENT_NAMES = CONDITION_NAMES | {"iteration"}
ITEM_NAMES = ARGUMENT_NAMES | {"item", "index"}
VARS_NAMES = frozenset({"input", "vars"})


@dataclass(frozen=True)
class Readable:
    """The steps and the variables that a flow has; None where they are not known yet, as of a flow without steps."""

    steps: Collection[str] | None = None
    variables: Collection[str] | None = None

    @classmethod
    def of(cls, drafts: Iterable[StepDraft], options: FlowOptions) -> Readable:
        """Return what a flow's expressions may read: its steps, and whatever its transitions publish."""
        drafts = list(drafts)
        published = [values for draft in drafts for values in _published(draft)]
        given = [values for values in (options.vars, *published) if isinstance(values, Mapping)]
        variables = {name for values in given for name in values if isinstance(name, str)}
        return cls({draft.name for draft in drafts}, variables)

    def check_condition(self, when: Any, offered: frozenset[str], report: Report) -> None:
        """Report what is wrong with a condition: an expression, a function, or the name of a registered one."""
        if isinstance(when, elements.Condition):
            if when.callable is not None and not registry.has_callable(when.callable):
                meant = guess(when.callable, registry.callable_names())
                report("unknown_function", ("when",), f"when: no condition {when.callable!r} is registered{meant}")
            when = when.expression
        if isinstance(when, str):
            self._check_expression(("when",), when, offered, report, is_condition=True)
        elif callable(when):
            _check_function("when", when, offered, report)
        elif when is not None:
            report("bad_value", ("when",), f"when must be an expression or a function, not {when!r}")

    def check_delay(self, delay: Any, offered: frozenset[str], report: Report) -> None:
        """Report what is wrong with a delay: a time, or an expression that gives it."""
        if isinstance(delay, str):
            self._check_expression(("delay",), delay, offered, report)
        elif delay is not None:
            check_time(("delay",), delay, report)

    def check_assignments(self, what: str, values: Any, offered: frozenset[str], report: Report) -> None:
        """Report what is wrong with values by name: text is an expression, anything else the value itself."""
        if values is None:
            return
        if not isinstance(values, Mapping):
            report("bad_value", (what,), f"{what} must be values by name, not {values!r}")
            return
        for name, value in values.items():
            if not names.is_name(name):
                report("bad_name", (what, name), f"{what} {name!r}: a name is {names.NAME_RULE}")
            if isinstance(value, str):
                self._check_expression((what, name), value, offered, report)
            elif not schema.is_json(value):
                report("bad_value", (what, name), f"{what} {name!r}: {shown(value)} is no JSON value")

    def check_source(self, over: Any, report: Report) -> None:
        """Report a map over a variable that there is not; a step that there is not is reported as a dependency."""
        if not isinstance(over, str) or self.variables is None:
            return
        source, _, path = over.partition(".")
        name = path.partition(".")[0]
        if source == "vars" and name and name not in self.variables:
            meant = guess_or_list(name, self.variables)
            report("bad_expression", ("map", "over"), f"over={over!r}: nothing sets the variable {name!r}{meant}")

    def _check_expression(
        self, path: Path, expression: str, offered: frozenset[str], report: Report, *, is_condition: bool = False
    ) -> None:
        problem = syntax.check(expression, offered, is_condition=is_condition, steps=self.steps or ())
        if problem is None:
            problem = references.problem(expression, steps=self.steps, variables=self.variables)
        if problem is not None:
            option, *name = path
            what = f"{option} {name[0]!r}" if name else option
            report("bad_expression", path, f"{what}: {problem}")


def check_variables(values: Any, report: Report) -> None:
    """Report what is wrong with the variables that a run begins with: each sees those before it."""
    if not isinstance(values, Mapping):
        Readable().check_assignments("vars", values, VARS_NAMES, report)
        return
    before: list[str] = []
    for name, value in values.items():
        Readable(variables=before).check_assignments("vars", {name: value}, VARS_NAMES, report)
        before.append(name)


def _published(draft: StepDraft) -> Iterable[Any]:
    """Return the values by name that a step's transitions set."""
    try:
        transitions = transitions_of(draft.options.get("next"))
    except TypeError:
        return []  # reported elsewhere
    return [values for item in transitions if isinstance(item, Transition) for values in (item.publish, item.merge)]


def _check_function(option: str, function: Callable[..., Any], offered: frozenset[str], report: Report) -> None:
    if inspect.iscoroutinefunction(function):
        report(
            "bad_value",
            (option,),
            f"{option}: a coroutine cannot be asked in the middle of a decision; use a plain function",
        )
    try:
        wanted = parameters(function)
    except (TypeError, ValueError):
        report("bad_parameter", (option,), f"{option}: the parameters of {function!r} cannot be read")
        return
    for item in wanted:
        if item.kind is item.POSITIONAL_ONLY or (item.name not in offered and item.default is item.empty):
            message = f"{option}: parameter {item.name!r} is not one of {', '.join(sorted(offered))}"
            report("bad_parameter", (option,), f"{message}{guess(item.name, offered)}")
