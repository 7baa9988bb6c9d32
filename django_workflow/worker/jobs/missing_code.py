"""Tasks whose code this process does not have: put aside for others, and failed when nobody has it."""

from __future__ import annotations

import logging
import random
from typing import Any

from django_workflow import display
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.engine.tasks import handed_back, outcome
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.exceptions import UnregisteredHandler
from django_workflow.read.run.needed_code import CONDITION, EXECUTOR, HANDLER, REASONS, Code

logger = logging.getLogger("django_workflow.worker")

#: Seconds for which a task of unknown code is put aside at first; doubled each time.
FIRST_UNKNOWN_DELAY = 0.25
#: Code of which this process has warned already that it lacks it.
warned: set[Code] = set()


def judge(task: ClaimedTask, **more: Any) -> Outcome:
    """Put a task aside whose code this process does not have; after a time it fails with a clear word."""
    limit = conf.UNKNOWN_HANDLER_LIMIT.total_seconds()
    code = missing_code(task)
    # a task may be old because it waited or was tried for long: that says nothing about who knows it
    if task.age < limit or handed_back.seconds_unknown(task) < limit:
        _warn_once(code)
        # short at first, so that a worker that knows the code is not beaten to it again and again by this one
        longest = conf.UNKNOWN_HANDLER_DELAY.total_seconds()
        delay = random.uniform(0.5, 1.0) * min(longest, FIRST_UNKNOWN_DELAY * 2.0 ** min(task.attempt, 30))  # noqa: S311
        reason = REASONS[code.kind]
        message = f"no {code} in this process"
        return outcome.released(task, message, delay=delay, reason=reason, missing_code=code.name, **more)
    message = (
        f"no worker knows {code} of flow {task.spec.slug!r}: {code.cause}; {code.remedy}, or cancel the run. "
        f"It waited for {display.exact(conf.UNKNOWN_HANDLER_LIMIT)} (UNKNOWN_HANDLER_LIMIT)."
    )
    error = outcome.ErrorRecord.of(UnregisteredHandler(message))
    return outcome.failed(task, error, is_retryable=False, **more)


def missing_code(task: ClaimedTask) -> Code:
    """Return what of a task this process does not have: its handler, a condition behind it, else its executor."""
    step, slug = task.step, task.spec.slug
    if registry.handler(step.handler) is None:
        return Code(HANDLER, step.handler, slug, step.name)
    for name in task.spec.path_callables[step.name]:
        if not registry.has_callable(name):
            return Code(CONDITION, name, slug, step.name)
    return Code(EXECUTOR, step.executor or "", slug, step.name)


def _warn_once(code: Code) -> None:
    """Say that this worker lacks some code, not again for each task that needs it."""
    if code in warned:
        return
    warned.add(code)
    limit = display.exact(conf.UNKNOWN_HANDLER_LIMIT)
    logger.warning(
        "This worker has no code for %s of flow %s: %s. Its tasks are put aside for workers that have it, and fail "
        "after %s. To mend it, %s.%s",
        code, code.flow, code.cause, limit, code.remedy, _instead(code), extra={"flow": code.flow, "step": code.step},
    )  # fmt: skip


def _instead(code: Code) -> str:
    """Say which steps today's code has: one of them may be the renamed one."""
    steps = sorted(registry.steps_declared(code.flow))
    return f" The flow's steps are now: {', '.join(steps)}." if code.kind == HANDLER and steps else ""
