"""All problems of a definition at once, each with its place."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django_workflow.definition import expressions, graph, names, schema, spec
from django_workflow.definition.registry import parameters, registry
from django_workflow.definition.retry import STRATEGIES, Retry

if TYPE_CHECKING:
    from django_workflow.definition.declare import StepDraft

COMMON_OPTIONS = frozenset(
    {
        *("when", "on_unmet", "on_exhausted", "retry", "timeout", "queue", "executor", "atomic", "title"),
    }
)
MAP_OPTIONS = frozenset({"over", "count", "max_parallel", "tolerate"})
RETRY_OPTIONS = tuple(item.name for item in fields(Retry))
ON_UNMET = ("skip", "skip_cascade", "fail")
ON_EXHAUSTED = ("fail", "skip", "skip_cascade")
#: A definition may choose its own limit up to these.
MAX_DURATION_CEILING = timedelta(days=365)
MAX_TASKS_CEILING = 1_000_000

Report = Callable[[str], None]


def flow_options(
    slug: Any, max_duration: Any, max_tasks: Any, defaults: Mapping[str, Any], input_schema: Any = None
) -> list[str]:
    """Return the problems of a flow's own options and of the defaults of its steps."""
    problems: list[str] = []

    def report(text: str) -> None:
        problems.append(f"flow: {text}")

    if not names.is_name(slug):
        problems.append(f"flow {slug!r}: a slug is {names.NAME_RULE}")
    if max_duration is not None and not isinstance(max_duration, timedelta):
        report(f"max_duration must be a timedelta, not {max_duration!r}")
    elif max_duration is not None:
        _check_time("max_duration", max_duration, report)
        if max_duration > MAX_DURATION_CEILING:
            report(f"max_duration must be at most {MAX_DURATION_CEILING.days} days, not {max_duration}")
    if max_tasks is not None and not (_is_whole(max_tasks) and 1 <= max_tasks <= MAX_TASKS_CEILING):
        report(f"max_tasks must be between 1 and {MAX_TASKS_CEILING:,}, not {max_tasks!r}")
    if input_schema is not None:
        for problem in schema.problems(input_schema):
            report(problem)
    _check_shared(defaults, report)
    return problems


def overrides(layers: Any, known: set[str]) -> list[str]:
    """Return the problems of overrides as such; what they make of their steps is told with the steps."""
    if not isinstance(layers, Mapping):
        return [f"overrides are options by step, not {layers!r}"]
    problems = [f"override of step {name!r}: there is no such step" for name in layers if name not in known]
    problems += [
        f"override of step {name!r}: it must be options by name, not {options!r}"
        for name, options in layers.items()
        if not isinstance(options, Mapping)
    ]
    return problems


def retry_problems(policy: Any) -> list[str]:
    """Return the problems of a retry policy alone, such as the settings'."""
    problems: list[str] = []
    _check_retry(policy, problems.append)
    return problems


def drafts(steps: list[StepDraft]) -> list[str]:
    """Return the problems of a flow's steps and of the graph they make."""
    if not steps:
        return ["flow: it has no steps"]
    problems: list[str] = []
    known = {step.name for step in steps}
    for name, times in Counter(step.name for step in steps).items():
        if times > 1:
            problems.append(f"step {name!r}: declared {times} times")
    for step in steps:
        problems += step.problems
        problems += _check_step(step, known)
    problems += [
        f"steps {' → '.join(cycle)}: a cycle of dependencies never starts"
        for cycle in graph.find_cycles({step.name: step.depends_on for step in steps})
    ]
    return problems


def _check_step(step: StepDraft, known: set[str]) -> list[str]:
    problems: list[str] = []

    def report(text: str) -> None:
        problems.append(f"step {step.name!r}: {text}")

    if not names.is_name(step.name):
        report(f"a name is {names.NAME_RULE}")
    if step.name in names.RESERVED:
        report("this name is reserved")
    _check_dependencies(step, known, report)
    allowed = COMMON_OPTIONS | (MAP_OPTIONS if step.kind == spec.MAP else frozenset())
    for option in sorted(set(step.options) - allowed):
        hint = " (only map steps have it)" if option in MAP_OPTIONS else ""
        report(f"unknown option {option!r}{hint}")
    if step.kind == spec.MAP:
        _check_map(step, report)
    else:
        for name in ("item", "index"):
            if name in step.params:
                report(f"parameter {name!r} exists in map steps only")
    _check_options(step, report)
    return problems


def _check_dependencies(step: StepDraft, known: set[str], report: Report) -> None:
    for source, times in Counter(step.depends_on).items():
        if times > 1:
            report(f"it depends on {source!r} {times} times")
        if source == step.name:
            report("it depends on itself")
        elif source in known:
            continue
        elif source in step.params:
            report(f"parameter {source!r} is no step; parameters are input, ctx, item, index or a step's name")
        else:
            report(f"it depends on {source!r}, which is no step")


def _check_map(step: StepDraft, report: Report) -> None:
    over, count = step.options.get("over"), step.options.get("count")
    if over is not None and count is not None:
        report("a map has one source, not both over= and count=")
    elif over is None and count is None:
        report("a map needs over= or count=")
    if over is not None and not (isinstance(over, str) and all(over.split("."))):
        report(f"over= is a path such as 'step.key' or 'input', not {over!r}")
    if count is not None and not (_is_whole(count) and count >= 0):
        report(f"count= must be a whole number from 0, not {count!r}")
    if count is not None and "item" in step.params:
        report("parameter 'item' needs over=; with count= there is an index only")
    parallel = step.options.get("max_parallel")
    if parallel is not None and not (_is_whole(parallel) and parallel >= 1):
        report(f"max_parallel must be at least 1, not {parallel!r}")
    tolerate = step.options.get("tolerate")
    if tolerate is not None and not (
        _is_number(tolerate) and (0 <= tolerate < 1 or (_is_whole(tolerate) and tolerate > 0))
    ):
        report(f"tolerate must be a number of items or a share below 1, not {tolerate!r}")


def _check_options(step: StepDraft, report: Report) -> None:
    options = step.options
    if options.get("on_unmet", "skip") not in ON_UNMET:
        report(f"on_unmet must be one of {', '.join(ON_UNMET)}, not {options['on_unmet']!r}")
    if options.get("on_exhausted", "fail") not in ON_EXHAUSTED:
        report(f"on_exhausted must be one of {', '.join(ON_EXHAUSTED)}, not {options['on_exhausted']!r}")
    if not isinstance(options.get("atomic", False), bool):
        report(f"atomic must be True or False, not {options['atomic']!r}")
    if not isinstance(options.get("title", ""), str):
        report(f"title must be text, not {options['title']!r}")
    _check_shared(options, report)
    _check_condition(options.get("when"), report)


def _check_shared(options: Mapping[str, Any], report: Report) -> None:
    """Check the options that a step may take from its flow."""
    queue, executor = options.get("queue"), options.get("executor")
    if queue is not None and not names.is_queue_name(queue):
        report(f"queue {queue!r}: a queue's name is {names.QUEUE_RULE}")
    if executor is not None and not (isinstance(executor, str) and executor):
        report(f"executor must be a name, not {executor!r}")
    if options.get("timeout") is not None:
        _check_time("timeout", options["timeout"], report)
    _check_retry(options.get("retry"), report)


def _check_condition(when: Any, report: Report) -> None:
    if isinstance(when, spec.Condition):
        if when.callable is not None and not registry.has_callable(when.callable):
            report(f"when: no condition {when.callable!r} is registered")
        when = when.expression
    if isinstance(when, str):
        problem = expressions.check(when, expressions.CONDITION_NAMES)
        if problem:
            report(f"when: {problem}")
    elif callable(when):
        _check_function("when", when, expressions.CONDITION_NAMES, report)
    elif when is not None:
        report(f"when must be an expression or a function, not {when!r}")


def _check_function(option: str, function: Callable[..., Any], offered: frozenset[str], report: Report) -> None:
    if inspect.iscoroutinefunction(function):
        report(f"{option}: a coroutine cannot be asked in the middle of a decision; use a plain function")
    try:
        wanted = parameters(function)
    except (TypeError, ValueError):
        report(f"{option}: the parameters of {function!r} cannot be read")
        return
    for item in wanted:
        if item.kind is item.POSITIONAL_ONLY or (item.name not in offered and item.default is item.empty):
            report(f"{option}: parameter {item.name!r} is not one of {', '.join(sorted(offered))}")


def _check_retry(policy: Any, report: Report) -> None:
    if policy is None:
        return
    if isinstance(policy, Retry):
        policy = policy.declared()
    if not isinstance(policy, Mapping):
        report(f"retry must be a Retry, not {policy!r}")
        return
    for name in policy:
        if name not in RETRY_OPTIONS:
            report(f"retry: unknown option {name!r}")
    _check_delays(policy, report)
    attempts = policy.get("max_attempts", 1)
    if not (_is_whole(attempts) and attempts >= 1):
        report(f"retry: max_attempts must be at least 1, not {attempts!r}")
    for name in ("retry_on", "give_up_on"):
        found = policy.get(name, ())
        if not (isinstance(found, list | tuple) and all(isinstance(item, str) for item in found)):
            report(f"retry: {name} must be exception classes, not {found!r}")


def _check_delays(policy: Mapping[str, Any], report: Report) -> None:
    for name in ("base", "cap"):
        if name in policy:
            _check_time(f"retry: {name}", policy[name], report)
    factor = policy.get("factor", 1)
    if not (_is_number(factor) and factor > 0):
        report(f"retry: factor must be a positive number, not {factor!r}")
    if not isinstance(policy.get("jitter", True), bool):
        report(f"retry: jitter must be True or False, not {policy['jitter']!r}")
    _check_strategy(policy.get("strategy", "exponential"), report)


def _check_strategy(strategy: Any, report: Report) -> None:
    if callable(strategy):
        if inspect.iscoroutinefunction(strategy):
            report("retry: strategy must be a plain function, not a coroutine")
    elif isinstance(strategy, str) and strategy.startswith(spec.CALLABLE_PREFIX):
        name = strategy.removeprefix(spec.CALLABLE_PREFIX)
        if not registry.has_callable(name):
            report(f"retry: no strategy {name!r} is registered")
    elif strategy not in STRATEGIES:
        report(f"retry: strategy must be one of {', '.join(STRATEGIES)} or a function, not {strategy!r}")


def _check_time(what: str, value: Any, report: Report) -> None:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not _is_number(seconds):
        report(f"{what} must be a timedelta, not {value!r}")
    elif seconds <= 0:
        report(f"{what} must be positive, not {seconds:g} s")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
