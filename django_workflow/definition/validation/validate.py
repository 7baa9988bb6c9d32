"""All problems of a definition at once, each with its place."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import timedelta
from itertools import chain
from typing import Any, get_args

from django_workflow.definition import elements, graph, names, spec
from django_workflow.definition.problems import Code, Problem, Report
from django_workflow.definition.registry import registry
from django_workflow.definition.retry import STRATEGIES, Retry
from django_workflow.definition.schemas import schema
from django_workflow.definition.validation import joins
from django_workflow.definition.validation.amounts import LARGEST_NUMBER, check_time, is_number, is_whole
from django_workflow.definition.validation.readable import (
    ARGUMENT_NAMES,
    CONDITION_NAMES,
    ITEM_NAMES,
    TRANSITION_NAMES,
    Readable,
    check_variables,
)
from django_workflow.definition.written.options import MapOptions, Match, OnExhausted, OnUnmet, StepOptions
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.definition.written.transitions import OUTCOMES, Otherwise, Way, When, targets, targets_of, ways
from django_workflow.spelling import at_most, guess
from django_workflow.text import TITLE, is_storable, shown

COMMON_OPTIONS = frozenset(StepOptions.__annotations__) - {"name", "depends_on"}
MAP_OPTIONS = frozenset(MapOptions.__annotations__) - frozenset(StepOptions.__annotations__)
RETRY_OPTIONS = tuple(item.name for item in fields(Retry))
ON_UNMET: tuple[str, ...] = get_args(OnUnmet)
ON_EXHAUSTED: tuple[str, ...] = get_args(OnExhausted)
#: A definition may choose its own limit up to these.
MAX_DURATION_CEILING = elements.LONGEST_TIME
MAX_TASKS_CEILING = 1_000_000
MAX_ITERATIONS_CEILING = 100_000
#: Most ways from step to step that a definition may have: each process reads and keeps all of them.
MAX_EDGES = 25_000
MAX_RESOURCE_NAME = 100
#: Names of a definition for which it is looked what was meant.
MOST_GUESSED = 50
MATCHES: tuple[str, ...] = get_args(Match)


def flow_options(
    slug: Any, options: FlowOptions, defaults: Mapping[str, Any], readable: Readable | None = None
) -> list[Problem]:
    """Return the problems of a flow's own options and of the defaults of its steps.

    readable: its steps and variables, where they are known.
    """
    problems: list[Problem] = []
    report = Report(problems)
    if not names.is_name(slug):
        problems.append(Problem("bad_name", ("slug",), f"a slug is {names.NAME_RULE}", place=f"flow {shown(slug)}"))
    _check_title(options.title, report)
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
    _check_shared(defaults, report)
    return problems


def _check_duration(duration: Any, report: Report) -> None:
    if duration is None:
        return
    if not isinstance(duration, timedelta):
        report("bad_value", ("max_duration",), f"max_duration must be a timedelta, not {duration!r}")
        return
    check_time(("max_duration",), duration, report)


def overrides(layers: Any, known: set[str]) -> list[Problem]:
    """Return the problems of overrides as such; what they make of their steps is told with the steps."""
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


def retry_problems(policy: Any) -> list[Problem]:
    """Return the problems of a retry policy alone, such as the settings'."""
    problems: list[Problem] = []
    _check_retry(policy, Report(problems))
    return problems


@at_most(MOST_GUESSED)
def drafts(steps: list[StepDraft], options: FlowOptions) -> list[Problem]:
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


def graph_problems(flow: spec.FlowSpec) -> list[Problem]:
    """Return what is wrong with the graph of a definition whose steps are right."""
    problems = []
    if not flow.entry:
        message = "no step to begin with, for each one follows another; name it with entry="
        problems.append(Problem("no_entry", ("entry",), message))
    for name, step in flow.steps.items():
        count = len(flow.predecessors[name])
        if isinstance(step.join, int) and step.join > count:
            message = f"join={step.join}, but only {count} steps lead to it"
            problems.append(Problem("join_too_large", ("steps", name, "join"), message))
    if flow.max_duration is not None:
        problems += endless_delays(flow, flow.max_duration)
    return problems


def endless_delays(flow: spec.FlowSpec, longest: float) -> list[Problem]:
    """Return which delays are as long as a run may last, in seconds: what they delay never begins."""
    delays = [(("steps", name, "delay"), "delay", step.delay) for name, step in flow.steps.items()]
    delays += [
        (("steps", item.source, "delay"), f"delay of {', '.join(map(repr, item.to))}", item.delay)
        for item in flow.transitions
    ]
    return [
        Problem(
            "never_begins",
            path,
            f"{what} is {delay:g} s, but a run lasts {longest:g} s at most: it would never begin",
        )
        for path, what, delay in delays
        if isinstance(delay, int | float) and delay >= longest
    ]


def advice(flow: spec.FlowSpec) -> list[Problem]:
    """Return all that is worth a warning: `warnings`, and joins that some way leaves incomplete."""
    return [*warnings(flow), *(item.problem for item in joins.incomplete(flow))]


def warnings(flow: spec.FlowSpec) -> list[Problem]:
    """Return what is legal but hardly meant: loops that never end, loops without a pause, steps nothing reaches."""
    found = []
    for name in flow.steps:
        for item in flow.outbound[name]:
            always = name in item.to and item.when is None
            if always and item.delay is None and not _may_leave(flow, {name}):
                message = "it leads to itself without a condition and without a delay"
                found.append(Problem("endless_loop", ("steps", name), message))
    order = {name: number for number, name in enumerate(flow.steps)}
    members: dict[int, set[str]] = {}
    for name, number in flow.cycles.items():
        members.setdefault(number, set()).add(name)
    for cycle in members.values():
        if not _may_leave(flow, cycle):
            listed = sorted(cycle, key=order.__getitem__)
            place = f"step{'s' if len(listed) > 1 else ''} {', '.join(map(repr, listed))}"
            message = "a loop without a condition on any way; only its limits end it"
            found.append(Problem("endless_loop", ("steps", listed[0]), message, place=place))
    reached = graph.reachable(flow.successors, flow.entry)
    found += [
        Problem("unreachable", ("steps", name), "nothing leads to it") for name in flow.steps if name not in reached
    ]
    return found


def _may_leave(flow: spec.FlowSpec, cycle: set[str]) -> bool:
    """Say whether a loop can end by itself: some way on within it depends on something."""
    within = {*cycle, names.RETRY}
    ways_on = [item for name in cycle for item in flow.outbound[name] if not within.isdisjoint(item.to)]
    leads_on = {
        item.source for item in ways_on if item.when is None and not item.is_otherwise and "succeeded" in item.on
    }
    return not cycle <= leads_on


def _check_step(step: StepDraft, known: set[str], readable: Readable) -> list[Problem]:
    problems: list[Problem] = []
    report = Report(problems, ("steps", step.name))
    if not names.is_name(step.name):
        report("bad_name", (), f"a name is {names.NAME_RULE}")
    if step.name in names.RESERVED:
        report("bad_name", (), "this name is reserved")
    _check_dependencies(step, known, report)
    _check_ways(step, known, readable, report)
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


def _check_ways(step: StepDraft, known: set[str], readable: Readable, report: Report) -> None:
    """Check where a step leads by `next=`, and how it is reached."""
    if step.options.get("match", elements.MATCH_ALL) not in MATCHES:
        report("bad_value", ("match",), f"match must be one of {', '.join(MATCHES)}, not {step.options['match']!r}")
    join = step.options.get("join")
    if join is not None and join != elements.JOIN_ALL and not (is_whole(join) and join >= 1):
        message = f"join must be 'all' or a number of predecessors from 1, not {join!r}"
        report("bad_value", ("join",), message)
    try:
        found = ways(step.options.get("next"))
    except TypeError:
        message = f"next must be a list of When, To, Otherwise or steps, not {step.options['next']!r}"
        report("bad_value", ("next",), message)
        return
    for place, way in enumerate(found):
        _check_way(way, known, readable, report.within("next", place))


def _check_way(way: Any, known: set[str], readable: Readable, report: Report) -> None:
    if not isinstance(way, Way):
        report("bad_value", (), f"it must be a When, a To, an Otherwise or a step, not {way!r}")
        return
    is_named = isinstance(way.to, str | list | tuple) and all(isinstance(name, str) for name in targets(way))
    if not is_named or not way.to:
        report("bad_value", ("to",), f"to must be a step, a command or a list of them, not {way.to!r}")
        return
    key = "otherwise" if isinstance(way, Otherwise) else "to"
    for target, times in Counter(targets(way)).items():
        if times > 1:
            report("duplicate", (key,), f"it leads to {target!r} {times} times")
        if target not in known and target not in names.COMMANDS:
            told = f"it leads to {target!r}, which is no step and none of {', '.join(sorted(names.COMMANDS))}"
            report("unknown_step", (key,), f"{told}{guess(target, chain(known, names.COMMANDS))}")
    if not isinstance(way.on, str) or way.on not in OUTCOMES:
        report("bad_value", ("on",), f"on must be one of {', '.join(OUTCOMES)}, not {way.on!r}")
    if isinstance(way, When):
        when: Any = way.when
        readable.check_condition(when, TRANSITION_NAMES, report)
        if when is None:
            report("missing", ("when",), "a When needs a condition; a way without one is a To")
    readable.check_assignments("publish", way.publish, TRANSITION_NAMES, report)
    readable.check_assignments("merge", way.merge, TRANSITION_NAMES, report)
    readable.check_delay(way.delay, TRANSITION_NAMES, report)


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
    _check_title(options.get("title", ""), report)
    _check_shared(options, report)
    _check_place(options, report)
    readable.check_condition(options.get("when"), CONDITION_NAMES, report)
    readable.check_delay(options.get("delay"), CONDITION_NAMES, report)
    offered = ITEM_NAMES if step.kind == elements.MAP else ARGUMENT_NAMES
    readable.check_assignments("arguments", options.get("arguments"), offered, report)
    readable.check_source(options.get("over"), report)


def _check_title(title: Any, report: Report) -> None:
    if not isinstance(title, str) or not is_storable(title):
        report("bad_value", ("title",), f"title must be text, not {shown(title)}")
    elif len(title) > TITLE:
        report("bad_value", ("title",), f"title has {len(title):,} characters; {TITLE} are allowed")


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


def _check_shared(options: Mapping[str, Any], report: Report) -> None:
    """Check the options that a step may take from its flow."""
    queue, executor = options.get("queue"), options.get("executor")
    if queue is not None and not names.is_queue_name(queue):
        report("bad_name", ("queue",), f"queue {shown(queue)}: a queue's name is {names.QUEUE_RULE}")
    if executor is not None and not (isinstance(executor, str) and executor and is_storable(executor)):
        report("bad_value", ("executor",), f"executor must be a name, not {shown(executor)}")
    if options.get("timeout") is not None:
        check_time(("timeout",), options["timeout"], report)
    _check_retry(options.get("retry"), report)


def _check_retry(policy: Any, report: Report) -> None:
    if policy is None:
        return
    if isinstance(policy, Retry):
        policy = policy.declared()
    if not isinstance(policy, Mapping):
        report("bad_value", ("retry",), f"retry must be a Retry, not {policy!r}")
        return
    for name in policy:
        if name not in RETRY_OPTIONS:
            message = f"retry: unknown option {name!r}{guess(name, RETRY_OPTIONS)}"
            report("unknown_option", ("retry", name), message)
    _check_delays(policy, report)
    attempts = policy.get("max_attempts", 1)
    if not (is_whole(attempts) and attempts >= 1):
        report("bad_value", ("retry", "max_attempts"), f"retry: max_attempts must be at least 1, not {attempts!r}")
    for name in ("retry_on", "give_up_on"):
        found = policy.get(name, ())
        if not (isinstance(found, list | tuple) and all(isinstance(item, str) for item in found)):
            report("bad_value", ("retry", name), f"retry: {name} must be exception classes, not {found!r}")


def _check_delays(policy: Mapping[str, Any], report: Report) -> None:
    for name in ("base", "cap"):
        if name in policy:
            check_time(("retry", name), policy[name], report)
    factor = policy.get("factor", 1)
    if not (is_number(factor) and factor > 0):
        report("bad_value", ("retry", "factor"), f"retry: factor must be a positive number, not {factor!r}")
    if not isinstance(policy.get("jitter", True), bool):
        report("bad_value", ("retry", "jitter"), f"retry: jitter must be True or False, not {policy['jitter']!r}")
    _check_strategy(policy.get("strategy", "exponential"), report)


def _check_strategy(strategy: Any, report: Report) -> None:
    if callable(strategy):
        if inspect.iscoroutinefunction(strategy):
            report("bad_value", ("retry", "strategy"), "retry: strategy must be a plain function, not a coroutine")
    elif isinstance(strategy, str) and strategy.startswith(elements.CALLABLE_PREFIX):
        name = strategy.removeprefix(elements.CALLABLE_PREFIX)
        if not registry.has_callable(name):
            message = f"retry: no strategy {name!r} is registered{guess(name, registry.callable_names())}"
            report("unknown_function", ("retry", "strategy"), message)
    elif strategy not in STRATEGIES:
        message = f"retry: strategy must be one of {', '.join(STRATEGIES)} or a function, not {strategy!r}"
        report("bad_value", ("retry", "strategy"), message)
