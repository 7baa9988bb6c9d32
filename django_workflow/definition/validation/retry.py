"""Retry policies."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django_workflow.definition import elements
from django_workflow.definition.problems import Problem, Report
from django_workflow.definition.registry import registry
from django_workflow.definition.retry import STRATEGIES, Retry
from django_workflow.definition.validation.amounts import check_time, is_number, is_whole
from django_workflow.spelling import guess

RETRY_OPTIONS = tuple(item.name for item in fields(Retry))


def retry_problems(policy: Any) -> list[Problem]:
    """Return the problems of a retry policy alone, such as the settings'."""
    problems: list[Problem] = []
    check_retry(policy, Report(problems))
    return problems


def check_retry(policy: Any, report: Report) -> None:
    """Check a retry policy, or what its author gave instead."""
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
        classes = policy.get(name, ())
        if not (isinstance(classes, list | tuple) and all(isinstance(item, str) for item in classes)):
            report("bad_value", ("retry", name), f"retry: {name} must be exception classes, not {classes!r}")


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
