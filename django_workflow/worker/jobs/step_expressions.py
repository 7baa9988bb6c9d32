"""What a step's own expressions come to in an attempt: its arguments, and whether it wants another attempt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_workflow import payload
from django_workflow.definition.expressions.language import Language, language_of
from django_workflow.definition.retry import RetryPolicy
from django_workflow.engine.routing.evaluation import Names, evaluated, seconds
from django_workflow.engine.routing.facts import Visible
from django_workflow.engine.stored.outputs import RunOutputs, outer_scopes, read_statuses
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.exceptions import ExpressionError
from django_workflow.worker.jobs.job import Job


@contextmanager
def _ending_the_run(job: Job) -> Iterator[None]:
    """Let an expression that fails inside end the run, in languages in which it is no failure of the step."""
    try:
        yield
    except ExpressionError as error:
        error.ends_run = not job.task.spec.dialect.fails_step_on_mistake
        raise


def given(job: Job) -> dict[str, Any]:
    """Return the arguments that the step gives its handler; raises `ExpressionError` naming step and argument."""
    if not job.task.step.arguments:
        return {}
    with _ending_the_run(job):
        return _given(job)


def _given(job: Job) -> dict[str, Any]:
    step = job.task.step
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
    """Return the seconds until another attempt where the step's condition asks for it and one is left, else None.

    Raises `ExpressionError` naming the step and which of its expressions it was.
    """
    with _ending_the_run(job):
        return _next_attempt(job, status, result=result, error=error)


def _next_attempt(job: Job, status: str, *, result: Any, error: dict[str, Any] | None) -> float | None:
    step, failures = job.task.step, job.task.failure_count + 1
    language = language_of(job.task.spec)
    names = _names(job, status=status, result=result, error=error)
    policy = dict(step.retry)
    if isinstance(policy.get("max_attempts"), str):
        policy["max_attempts"] = 1 + _count(
            policy["max_attempts"], f"retry count of step {step.name!r}", names, language
        )
    if failures >= RetryPolicy.of(policy).max_attempts:
        return None
    place = f"retry condition of step {step.name!r}"
    if not evaluated(place, names, lambda: language.value(step.retry_when, names)):
        return None
    if isinstance(policy.get("base"), str):
        policy["base"] = seconds(policy["base"], f"retry delay of step {step.name!r}", names, language)
    return RetryPolicy.of(policy).delay(failures)


def _count(written: str, place: str, names: Names, language: Language) -> int:
    """Return how many attempts may follow the first one."""
    value = evaluated(place, names, lambda: language.value(written, names))
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ExpressionError(f"{place}: a whole number from 0 is needed, not {value!r}", expression=written)
    return value


def _names(job: Job, **more: Any) -> Names:
    """Return what the step's expressions see, read when it is asked for."""
    task = job.task
    known = {"iteration": task.iteration, "index": task.index, "item_names": task.step.item_names, **more}
    names = Names(
        known,
        input=lambda: payload.loads(task.input),
        item=lambda: payload.loads(task.item),
        vars=lambda: payload.loads(task.variables) or {},
        outputs=lambda: Visible(
            RunOutputs(task.run_id, task.spec, scopes=outer_scopes([task.scope])[task.scope]), task.spec
        ),
    )
    if task.spec.dialect.sees_statuses:
        names.add_reader("statuses", lambda: _statuses(task, more.get("status")))
    return names


def _statuses(task: ClaimedTask, own: str | None) -> dict[str, str]:
    """Return the steps' latest statuses; of its own how this attempt ended, before that how its last step run did."""
    scopes = outer_scopes([task.scope])[task.scope]
    statuses = read_statuses(task.run_id, task.spec, scopes, without=task.step_run_id)
    return statuses if own is None else statuses | {task.step.name: own}
