"""All problems of a definition at once, each with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django_workflow.definition import expressions, graph, names, retry, spec

if TYPE_CHECKING:
    from django_workflow.definition.declare import StepDraft

COMMON_OPTIONS = frozenset(
    "when on_unmet on_exhausted retry timeout queue executor atomic title".split()
)
MAP_OPTIONS = frozenset("over count max_parallel tolerate".split())
ON_UNMET = ("skip", "skip_cascade", "fail")
ON_EXHAUSTED = ("fail", "skip", "skip_cascade")

Report = Callable[[str], None]


def flow_options(slug: Any, max_duration: Any, max_tasks: Any) -> list[str]:
    """Return the problems of a flow's own options."""
    problems = []
    if not names.is_name(slug):
        problems.append(f"flow {slug!r}: a slug is {names.NAME_RULE}")
    if max_duration is not None:
        problems += _check_time("flow", "max_duration", max_duration)
    if max_tasks is not None and (not isinstance(max_tasks, int) or max_tasks < 1):
        problems.append(f"flow: max_tasks must be at least 1, not {max_tasks!r}")
    return problems


def drafts(steps: list[StepDraft]) -> list[str]:
    """Return the problems of a flow's steps and of the graph they make."""
    problems: list[str] = []
    if not steps:
        return ["flow: it has no steps"]
    known = {step.name for step in steps}
    for name, times in Counter(step.name for step in steps).items():
        if times > 1:
            problems.append(f"step {name!r}: declared {times} times")
    for step in steps:
        problems += step.problems
        problems += _check_step(step, known)
    problems += _check_graph(steps)
    return problems


def _check_graph(steps: list[StepDraft]) -> list[str]:
    edges = {step.name: step.depends_on for step in steps}
    cycle = graph.find_cycle(edges)
    if cycle:
        return [f"steps {' → '.join(cycle)}: a cycle of dependencies never starts"]
    if all(step.depends_on for step in steps):
        return ["flow: no entry, every step depends on another"]
    return []


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
    for source in step.depends_on:
        if source == step.name:
            report("it depends on itself")
        elif source in known:
            continue
        elif source in step.params:
            report(
                f"parameter {source!r} is no step; parameters are input, ctx, item, index or a step's name"
            )
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
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        report(f"count= must be a whole number from 0, not {count!r}")
    if count is not None and "item" in step.params:
        report("parameter 'item' needs over=; with count= there is an index only")
    parallel = step.options.get("max_parallel")
    if parallel is not None and (not isinstance(parallel, int) or parallel < 1):
        report(f"max_parallel must be at least 1, not {parallel!r}")
    tolerate = step.options.get("tolerate")
    if tolerate is not None and (not isinstance(tolerate, int | float) or tolerate < 0):
        report(f"tolerate must be a number of items or a share below 1, not {tolerate!r}")


def _check_options(step: StepDraft, report: Report) -> None:
    options = step.options
    if options.get("on_unmet", "skip") not in ON_UNMET:
        report(f"on_unmet must be one of {', '.join(ON_UNMET)}, not {options['on_unmet']!r}")
    if options.get("on_exhausted", "fail") not in ON_EXHAUSTED:
        report(f"on_exhausted must be one of {', '.join(ON_EXHAUSTED)}, not {options['on_exhausted']!r}")
    if options.get("queue") is not None and not names.is_queue_name(options["queue"]):
        report(f"queue {options['queue']!r}: a queue's name is {names.QUEUE_RULE}")
    for problem in _check_time("", "timeout", options.get("timeout")):
        report(problem)
    when = options.get("when")
    if isinstance(when, spec.Condition):
        when = when.expression
    if isinstance(when, str):
        problem = expressions.check(when)
        if problem:
            report(f"when: {problem}")
    elif when is not None and not callable(when):
        report(f"when must be an expression or a function, not {when!r}")
    _check_retry(options.get("retry"), report)


def _check_retry(policy: Any, report: Report) -> None:
    if policy is None:
        return
    if not isinstance(policy, Mapping):
        report(f"retry must be a Retry, not {policy!r}")
        return
    attempts = policy.get("max_attempts", 1)
    if not isinstance(attempts, int) or attempts < 1:
        report(f"retry: max_attempts must be at least 1, not {attempts!r}")
    strategy = policy.get("strategy", "exponential")
    if isinstance(strategy, str) and strategy.startswith(spec.CALLABLE_PREFIX):
        strategy = None
    elif not callable(strategy) and strategy not in retry.STRATEGIES:
        report(f"retry: strategy must be one of {', '.join(retry.STRATEGIES)} or a function, not {strategy!r}")
    for name in ("base", "factor", "cap"):
        if name in policy and not policy[name] > 0:
            report(f"retry: {name} must be positive, not {policy[name]!r}")


def _check_time(place: str, name: str, value: Any) -> list[str]:
    head = f"{place}: {name}" if place else name
    if value is None:
        return []
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif not isinstance(value, int | float) or isinstance(value, bool):
        return [f"{head} must be a timedelta, not {value!r}"]
    return [] if value > 0 else [f"{head} must be positive, not {value} s"]
