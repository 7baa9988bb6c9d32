"""Tasks whose code this process does not have: put aside for others, and failed when nobody has it."""

from __future__ import annotations

import random
from typing import Any

from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.engine import claim, outcome
from django_workflow.engine.claim import ClaimedTask
from django_workflow.engine.outcome import Outcome
from django_workflow.exceptions import UnregisteredHandler

#: Seconds for which a task of unknown code is put aside at first; doubled each time.
FIRST_UNKNOWN_DELAY = 0.25


def judge(task: ClaimedTask, **more: Any) -> Outcome:
    """Put a task aside whose code this process does not have; after a time it fails with a clear word."""
    limit = conf.UNKNOWN_HANDLER_LIMIT.total_seconds()
    missing = _missing(task)
    # a task may be old because it waited or was tried for long: that says nothing about who knows it
    if task.age < limit or claim.seconds_unknown(task) < limit:
        # short at first, so that a worker that knows the code is not beaten to it again and again by this one
        longest = conf.UNKNOWN_HANDLER_DELAY.total_seconds()
        delay = random.uniform(0.5, 1.0) * min(longest, FIRST_UNKNOWN_DELAY * 2.0 ** min(task.attempt, 30))  # noqa: S311
        return outcome.released(task, claim.UNKNOWN.format(missing), delay=delay, **more)
    message = (
        f"no worker knows {missing} of flow {task.spec.slug!r}; "
        "start a worker with the code that declares it, or cancel the run"
    )
    error = outcome.ErrorRecord.of(UnregisteredHandler(message))
    return outcome.failed(task, error, is_retryable=False, **more)


def _missing(task: ClaimedTask) -> str:
    """Return what of a task this process does not have: its handler, a condition behind it, else its executor."""
    step = task.step
    if registry.handler(step.handler) is None:
        return f"handler {step.handler!r}"
    for name in task.spec.path_callables[step.name]:
        if not registry.has_callable(name):
            return f"condition {name!r}"
    return f"executor {step.executor!r}"
