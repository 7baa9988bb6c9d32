"""The steps of a flow, and the names that they use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, get_args

from django_workflow.definition import elements, graph, names
from django_workflow.definition.problems import Problem, Report
from django_workflow.definition.validation import shared, transitions
from django_workflow.definition.validation.amounts import LARGEST_NUMBER, is_number, is_whole
from django_workflow.definition.validation.readable import ARGUMENT_NAMES, CONDITION_NAMES, ITEM_NAMES, Readable
from django_workflow.definition.written.options import MapOptions, OnExhausted, OnUnmet, StepOptions
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import targets_of
from django_workflow.spelling import at_most, guess
from django_workflow.text import is_storable, shown

COMMON_OPTIONS = frozenset(StepOptions.__annotations__) - {"name", "depends_on"}
MAP_OPTIONS = frozenset(MapOptions.__annotations__) - frozenset(StepOptions.__annotations__)
ON_UNMET: tuple[str, ...] = get_args(OnUnmet)
ON_EXHAUSTED: tuple[str, ...] = get_args(OnExhausted)
#: Most edges that a definition may have: each process reads and keeps all of them.
MAX_EDGES = 25_000
MAX_RESOURCE_NAME = 100
#: Names of a definition for which it is looked what was meant.
MOST_GUESSED = 50


@at_most(MOST_GUESSED)
def step_problems(steps: list[StepDraft], options: FlowOptions) -> list[Problem]:
    """Return the problems of a flow's steps and of the names they use."""
    if not steps:
        return [Problem("missing", ("steps",), "it has no steps")]
    count = sum(len(step.depends_on) + len(targets_of(step.options.get("next"))) for step in steps)
    if count > MAX_EDGES:
        remedy = "let many steps lead to one that joins them, and that one to the next"
        message = f"{count:,} ways lead from step to step; {MAX_EDGES:,} are allowed; {remedy}"
        return [Problem("too_many", ("steps",), message)]
    problems: list[Problem] = []
    known = {step.name for step in steps}
    for name, times in Counter(step.name for step in steps).items():
        if times > 1:
            problems.append(Problem("duplicate", ("steps", name), f"declared {times} times"))
    readable = Readable.of(steps, options)
    for step in steps:
        problems += step.problems
        problems += _check_step(step, known, readable)
    problems += [
        Problem(
            "cycle",
            ("steps", cycle[0]),
            "a cycle of dependencies never starts; a loop is made with next=",
            place=f"steps {' → '.join(cycle)}",
        )
        for cycle in graph.find_cycles({step.name: step.depends_on for step in steps})
    ]
    if options.entry is not None:
        problems += _entry_problems(options.entry, known)
    return problems


def _entry_problems(entry: Any, known: set[str]) -> list[Problem]:
    is_list = isinstance(entry, Iterable) and not isinstance(entry, str | Mapping)
    if not is_list or not list(entry) or not all(isinstance(name, str) for name in entry):
        return [Problem("bad_value", ("entry",), f"entry must be a list of steps, not {entry!r}")]
    problems = [
        Problem("unknown_step", ("entry",), f"entry names {name!r}, which is no step{guess(name, known)}")
        for name in entry
        if name not in known
    ]
    problems += [
        Problem("duplicate", ("entry",), f"entry names {name!r} {times} times")
        for name, times in Counter(list(entry)).items()
        if times > 1
    ]
    return problems


def _check_step(step: StepDraft, known: set[str], readable: Readable) -> list[Problem]:
    problems: list[Problem] = []
    report = Report(problems, ("steps", step.name))
    if not names.is_name(step.name):
        report("bad_name", (), f"a name is {names.NAME_RULE}")
    if step.name in names.RESERVED:
        report("bad_name", (), "this name is reserved")
    _check_dependencies(step, known, report)
    transitions.check_transitions(step, known, readable, report)
    allowed = COMMON_OPTIONS | (MAP_OPTIONS if step.kind == elements.MAP else frozenset())
    for option in sorted(set(step.options) - allowed):
        hint = " (only map steps have it)" if option in MAP_OPTIONS else guess(option, allowed)
        report("unknown_option", (option,), f"unknown option {option!r}{hint}")
    if step.kind == elements.MAP:
        _check_map(step, report)
    else:
        for name in ("item", "index"):
            if name in step.params:
                report("bad_parameter", ("handler",), f"parameter {name!r} exists in map steps only")
    _check_options(step, readable, report)
    return problems


def _check_dependencies(step: StepDraft, known: set[str], report: Report) -> None:
    for source, times in Counter(step.depends_on).items():
        if times > 1:
            report("duplicate", ("depends_on",), f"it depends on {source!r} {times} times")
        # gone through only where it is still looked what was meant: there may be thousands of mistakes
        others = (name for name in known if name != step.name)
        if source == step.name:
            report("depends_on_itself", ("depends_on",), "it depends on itself")
        elif source in known:
            continue
        elif source in step.params:
            meant = guess(source, chain(others, names.CONTEXT_NAMES))
            rule = meant or "; parameters are input, ctx, item, index or a step's name"
            report("bad_parameter", ("handler",), f"parameter {source!r} is no step{rule}")
        else:
            meant = guess(source, others)
            report("unknown_step", ("depends_on",), f"it depends on {source!r}, which is no step{meant}")


def _check_map(step: StepDraft, report: Report) -> None:
    over, count = step.options.get("over"), step.options.get("count")
    if over is not None and count is not None:
        report("conflict", ("map",), "a map has one source, not both over= and count=")
    elif over is None and count is None:
        report("missing", ("map", "over"), "a map needs over= or count=")
    if over is not None and not (isinstance(over, str) and all(over.split("."))):
        report("bad_value", ("map", "over"), f"over= is a path such as 'step.key' or 'input', not {over!r}")
    if count is not None and not (is_whole(count) and count >= 0):
        report("bad_value", ("map", "count"), f"count= must be a whole number from 0, not {count!r}")
    if count is not None and "item" in step.params:
        report("bad_parameter", ("handler",), "parameter 'item' needs over=; with count= there is an index only")
    parallel = step.options.get("max_parallel")
    if parallel is not None and not (is_whole(parallel) and parallel >= 1):
        report("bad_value", ("map", "max_parallel"), f"max_parallel must be at least 1, not {parallel!r}")
    tolerate = step.options.get("tolerate")
    if tolerate is not None and not (
        is_number(tolerate) and (0 <= tolerate < 1 or (is_whole(tolerate) and tolerate > 0))
    ):
        message = f"tolerate must be a number of items or a share below 1, not {tolerate!r}"
        report("bad_value", ("map", "tolerate"), message)


def _check_options(step: StepDraft, readable: Readable, report: Report) -> None:
    options = step.options
    if options.get("on_unmet", "skip") not in ON_UNMET:
        message = f"on_unmet must be one of {', '.join(ON_UNMET)}, not {options['on_unmet']!r}"
        report("bad_value", ("on_unmet",), message)
    if options.get("on_exhausted", "fail") not in ON_EXHAUSTED:
        message = f"on_exhausted must be one of {', '.join(ON_EXHAUSTED)}, not {options['on_exhausted']!r}"
        report("bad_value", ("on_exhausted",), message)
    if not isinstance(options.get("atomic", False), bool):
        report("bad_value", ("atomic",), f"atomic must be True or False, not {options['atomic']!r}")
    shared.check_title(options.get("title", ""), report)
    shared.check_shared(options, report)
    _check_place(options, report)
    readable.check_condition(options.get("when"), CONDITION_NAMES, report)
    readable.check_delay(options.get("delay"), CONDITION_NAMES, report)
    offered = ITEM_NAMES if step.kind == elements.MAP else ARGUMENT_NAMES
    readable.check_assignments("arguments", options.get("arguments"), offered, report)
    readable.check_source(options.get("over"), report)


def _check_place(options: Mapping[str, Any], report: Report) -> None:
    """Check what a step asks of where it runs."""
    resources, executor = options.get("resources"), options.get("executor")
    if options.get("atomic") is True:
        if executor not in (None, "thread"):
            message = f"atomic runs in a thread of the worker, not on executor {executor!r}; take one of the two away"
            report("conflict", ("atomic",), message)
        if resources:
            message = (
                "atomic runs in a thread of the worker, which has no resources to ask for; take one of the two away"
            )
            report("conflict", ("atomic",), message)
    if resources is None:
        return
    if not isinstance(resources, Mapping):
        report("bad_value", ("resources",), f"resources are numbers by name, not {shown(resources)}")
        return
    for name, number in resources.items():
        if not (isinstance(name, str) and 0 < len(name) <= MAX_RESOURCE_NAME and is_storable(name)):
            message = f"resources: a name is text of at most {MAX_RESOURCE_NAME} characters, not {shown(name)}"
            report("bad_name", ("resources",), message)
        elif not (is_number(number) and 0 < number <= LARGEST_NUMBER):
            message = f"resources: {name!r} must be a positive number, not {shown(number)}"
            report("bad_value", ("resources", name), message)
