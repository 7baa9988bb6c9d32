"""What a step's own expressions come to in an attempt: its arguments, and whether it wants another attempt."""

from __future__ import annotations

from typing import Any

from django_workflow import payload
from django_workflow.definition.language import Lazy, language_of
from django_workflow.definition.retry import NUMBERS, RetryPolicy
from django_workflow.engine.decisions import Visible
from django_workflow.engine.outputs import RunOutputs, outer_scopes
from django_workflow.exceptions import ExpressionError
from django_workflow.worker.job import Job


def given(job: Job) -> dict[str, Any]:
    """Return the arguments that the step gives its handler; raises `ExpressionError` naming step and argument."""
    step = job.task.step
    if not step.arguments:
        return {}
    names, language = _names(job), language_of(job.task.spec)
    arguments = {}
    for name, written in step.arguments.items():
        try:
            arguments[name] = language.value(written, names)
        except ExpressionError as error:
            place = f"argument {name!r} of step {step.name!r}"
            raise ExpressionError(f"{place}: {error.message}", expression=error.expression) from error
    return arguments


def next_attempt(job: Job, status: str, *, result: Any = None, error: dict[str, Any] | None = None) -> float | None:
    """Return the seconds until another attempt where the step's condition asks for it and one is left, else None."""
    step, failures = job.task.step, job.task.failure_count + 1
    language = language_of(job.task.spec)
    names = _names(job, status=status, result=result, error=error)
    told = {
        name: language.value(written, names) if name in NUMBERS else written for name, written in step.retry.items()
    }
    policy = RetryPolicy.of(told)
    if failures >= policy.max_attempts or not language.value(step.retry_when, names):
        return None
    return policy.delay(failures)


def _names(job: Job, **more: Any) -> Lazy:
    """Return what the step's expressions see, read when it is asked for."""
    task = job.task
    known = {"iteration": task.iteration, "index": task.index, "item_names": task.step.item_names, **more}
    return Lazy(
        known,
        input=lambda: payload.loads(task.input),
        item=lambda: payload.loads(task.item),
        vars=lambda: payload.loads(task.variables) or {},
        outputs=lambda: Visible(
            RunOutputs(task.run_id, task.spec, scopes=outer_scopes([task.scope])[task.scope]), task.spec.steps
        ),
    )
