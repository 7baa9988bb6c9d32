"""The options of a flow itself, and options that replace those of its steps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django_workflow.definition import elements, names
from django_workflow.definition.problems import Code, Problem, Report
from django_workflow.definition.schemas import schema
from django_workflow.definition.validation import shared
from django_workflow.definition.validation.amounts import check_time, is_whole
from django_workflow.definition.validation.readable import CONDITION_NAMES, Readable, check_variables
from django_workflow.definition.written.steps import FlowOptions
from django_workflow.spelling import guess
from django_workflow.text import shown

#: A definition may choose its own limit up to these.
MAX_DURATION_CEILING = elements.LONGEST_TIME
MAX_TASKS_CEILING = 1_000_000
MAX_ITERATIONS_CEILING = 100_000


def flow_problems(
    slug: Any, options: FlowOptions, defaults: Mapping[str, Any], readable: Readable | None = None
) -> list[Problem]:
    """Return the problems of a flow's own options and of the defaults of its steps.

    readable: its steps and variables, where they are known.
    """
    problems: list[Problem] = []
    report = Report(problems)
    if not names.is_name(slug):
        problems.append(Problem("bad_name", ("slug",), f"a slug is {names.NAME_RULE}", place=f"flow {shown(slug)}"))
    shared.check_title(options.title, report)
    _check_duration(options.max_duration, report)
    for name, ceiling in (("max_tasks", MAX_TASKS_CEILING), ("max_iterations", MAX_ITERATIONS_CEILING)):
        value = getattr(options, name)
        if value is not None and not (is_whole(value) and 1 <= value <= ceiling):
            report("bad_value", (name,), f"{name} must be between 1 and {ceiling:,}, not {value!r}")
    if options.input_schema is not None:
        for problem in schema.problems(options.input_schema):
            report("bad_value", ("input_schema",), problem)
    check_variables(options.vars, report)
    (readable or Readable()).check_assignments("output", options.output, CONDITION_NAMES, report)
    shared.check_shared(defaults, report)
    return problems


def _check_duration(duration: Any, report: Report) -> None:
    if duration is None:
        return
    if not isinstance(duration, timedelta):
        report("bad_value", ("max_duration",), f"max_duration must be a timedelta, not {duration!r}")
        return
    check_time(("max_duration",), duration, report)


def problems_of_overrides(layers: Any, known: set[str]) -> list[Problem]:
    """Return the problems of overrides as such; what they make of their steps is reported with the steps."""
    if not isinstance(layers, Mapping):
        return [Problem("bad_value", (), f"overrides are options by step, not {layers!r}", place="")]
    problems = [
        override_problem("unknown_step", name, f"there is no such step{guess(name, known)}")
        for name in layers
        if name not in known
    ]
    problems += [
        override_problem("bad_value", name, f"it must be options by name, not {options!r}")
        for name, options in layers.items()
        if not isinstance(options, Mapping)
    ]
    return problems


def override_problem(code: Code, step: str, message: str, *path: str) -> Problem:
    """Return a problem of the options that replace a step's."""
    return Problem(code, ("steps", step, *path), message, place=f"override of step {step!r}")
