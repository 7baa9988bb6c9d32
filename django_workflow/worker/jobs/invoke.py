"""Calling one handler and turning what it returns or raises into an outcome."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from contextvars import copy_context
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db.transaction import TransactionManagementError

from django_workflow import db, payload
from django_workflow.definition.containment import leave_to_operator, text_of
from django_workflow.definition.outcomes import Fail, RetryAfter, Skip
from django_workflow.engine.settling.settle import Settled, settle
from django_workflow.engine.tasks import inputs, outcome
from django_workflow.engine.tasks.claimed import log_fields
from django_workflow.engine.tasks.outcome import MAX_MESSAGE, ErrorRecord, Outcome
from django_workflow.exceptions import ExpressionError, PayloadError
from django_workflow.statuses import FAILED, SUCCEEDED
from django_workflow.text import spoken
from django_workflow.worker.jobs import handler_arguments, step_expressions
from django_workflow.worker.jobs.context import Cancelled
from django_workflow.worker.jobs.job import Job

logger = logging.getLogger("django_workflow.worker")

#: How long an atomic step waits for its run, at its end, in milliseconds.
ATOMIC_WAIT_MS = 5_000
#: How often an atomic step's result is settled where PostgreSQL cannot do it now.
SETTLE_TRIES = 3
#: Seconds until an atomic step that could not commit is executed again: they double up to the second number.
AGAIN = (1.0, 300.0)
PASSED_OVER = "the handler went on after an error of the database, which had ended the transaction of its atomic step"
#: Longest reason for which a handler skips its step, in characters.
MAX_SKIP = 200


def arguments(job: Job) -> dict[str, Any]:
    """Return the handler's keyword arguments; JSON is decoded anew for each call."""
    task = job.task
    if not inputs.is_equipped(task, job.handler.params):
        inputs.equip(task, job.handler.params)
    values: dict[str, Any] = {"ctx": job.context}
    skipped = set()
    for name in job.handler.params:
        if name == "input":
            values[name] = payload.loads(task.input)
        elif name == "item":
            values[name] = payload.loads(task.item)
        elif name == "index":
            values[name] = task.index
        elif name in task.dependencies:
            dependency = task.dependencies[name]
            if dependency.status == SUCCEEDED:
                values[name] = dependency.value
            else:
                skipped.add(name)
    return handler_arguments.wire(job.handler, values, skipped=skipped, given=step_expressions.given(job))


def call(job: Job) -> Outcome:
    """Run a synchronous handler in this thread; never raises.

    It runs in a copy of the thread's context: what it sets there (variables, language, time zone) ends with it.
    """
    return copy_context().run(_call, job)


def _call(job: Job) -> Outcome:
    try:
        with job.log:
            values = arguments(job)
            process_id = os.getpid()
            try:
                job.enter_handler(_call.__code__)
                value = job.handler.function(**values)
            finally:
                end_if_forked(process_id)
                job.leave_handler()
        return conclude(job, value)
    except BaseException as error:
        return conclude_error(job, error)


async def acall(job: Job) -> Outcome:
    """Run a coroutine handler on this loop; never raises."""
    process_id = os.getpid()
    try:
        with job.log:
            try:
                value = await job.handler.function(**await _arguments_of_coroutine(job))
            finally:
                end_if_forked(process_id)
        return conclude(job, value) if job.task.step.retry_when is None else await _aconclude(job, value)
    except BaseException as error:
        if job.task.step.retry_when is None:
            return conclude_error(job, error)
        try:
            return await _aconclude_error(job, error)
        except asyncio.CancelledError as stopped:
            return conclude_error(job, stopped)


async def _arguments_of_coroutine(job: Job) -> dict[str, Any]:
    """Return the keyword arguments; what may read the database does so in a thread, where that is allowed."""
    if job.task.step.arguments or not inputs.is_equipped(job.task, job.handler.params):
        return await _aarguments(job)
    return arguments(job)


def call_here(job: Job) -> Outcome:
    """Run a handler, whichever kind it is, in this thread; never raises.

    What a coroutine calls by `sync_to_async` runs in this thread, too, on its connections and in its transaction.
    """
    if not job.handler.is_async:
        return call(job)
    try:
        return copy_context().run(async_to_sync(_cancellable), job)
    except Exception:
        raise
    except BaseException as error:  # as of a task of the handler's own, which ends the loop
        leave_to_operator(error)
        return conclude_escaped(job, error)


async def _cancellable(job: Job) -> Outcome:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    job.can_be_stopped(functools.partial(loop.call_soon_threadsafe, task.cancel))
    try:
        return await acall(job)
    finally:
        job.cannot_be_stopped()


def end_if_forked(process_id: int) -> None:
    """End this process where a handler has forked and the new process came back from it: the job is the old one's."""
    if os.getpid() != process_id:
        os._exit(0)


class Superseded(Exception):
    """An atomic step found its lease over: what it wrote is rolled back."""


def call_atomic(job: Job) -> Outcome | Settled:
    """Run handler and settle in one transaction of the site's database.

    Returns what the settle did, or, where the handler failed and all is rolled back, its outcome.
    """
    has_committed: list[bool] = []
    try:
        with db.atomic():
            db.after_commit(lambda: has_committed.append(True))
            result = call_here(job)
            if result.kind != SUCCEEDED:
                raise _RolledBack(result)
            if db.has_failed():
                raise _RolledBack(conclude_error(job, TransactionManagementError(PASSED_OVER)))
            settled = _settle_with_its_writes(result)
            if settled.superseded:
                raise Superseded
            if settled.done != [result]:
                raise _RolledBack(*settled.done)  # refused, and turned into a failure: its writes go with it
        return settled
    except _RolledBack as rolled_back:
        return rolled_back.outcome
    except Superseded:
        return result
    except BaseException as error:
        if has_committed:
            logger.exception("what an atomic step left for after its commit failed", extra=log_fields(job.task))
            return settled
        if db.is_for_good(error):
            return conclude_error(job, error)
        # whether or not it has committed: this outcome is late if it has
        reason = "the run was locked too long" if db.is_lock_timeout(error) else f"it could not be stored: {error}"
        logger.warning("an atomic step is executed again: %s", db.for_logs(error), extra=log_fields(job.task))
        delay = min(AGAIN[1], AGAIN[0] * 2.0 ** min(job.task.attempt - 1, 30))
        return outcome.released(job.task, reason, delay=delay, **times(job))


def _settle_with_its_writes(result: Outcome) -> Settled:
    """Settle the result of an atomic step, in its transaction; tried again where that costs only a savepoint."""
    for _ in range(SETTLE_TRIES - 1):
        try:
            return settle([result], wait_ms=ATOMIC_WAIT_MS)
        except Exception as error:
            if db.has_failed() or not db.is_retryable(error) or db.is_lock_timeout(error):
                raise
    return settle([result], wait_ms=ATOMIC_WAIT_MS)


class _RolledBack(Exception):
    def __init__(self, result: Outcome) -> None:
        self.outcome = result


def conclude(job: Job, value: Any) -> Outcome:
    """Turn what a handler returned into an outcome."""
    task = job.task
    match value:
        case Skip(reason):
            return outcome.skipped(task, spoken(reason, MAX_SKIP), **times(job))
        case Fail(error):
            record = ErrorRecord("Fail", spoken(error, MAX_MESSAGE), classes=("Fail",))
            return outcome.failed(task, record, is_retryable=False, **times(job))
        case RetryAfter(delay, reason):
            record = ErrorRecord("RetryAfter", spoken(reason, MAX_MESSAGE), classes=("RetryAfter",))
            return outcome.failed(task, record, retry_after=delay.total_seconds(), **times(job))
    text = payload.dump_output(value, step=task.step.name)
    if task.step.retry_when is not None:
        seconds = step_expressions.next_attempt(job, SUCCEEDED, result=payload.loads(text))
        if seconds is not None:
            record = ErrorRecord("RetryWhen", f"the step asks for another attempt: {task.step.retry_when}")
            return outcome.failed(task, record, retry_after=seconds, **times(job))
    return outcome.succeeded(task, text, **times(job))


def conclude_error(job: Job, error: BaseException) -> Outcome:
    """Turn what a handler raised into an outcome."""
    if isinstance(error, Cancelled | asyncio.CancelledError) and job.is_interrupted:
        record = ErrorRecord("Cancelled", "the handler was told to stop", classes=("Cancelled",))
        return outcome.failed(job.task, record, is_retryable=False, **times(job))
    is_retryable, delay = not isinstance(error, PayloadError | ExpressionError), None
    if is_retryable and job.task.step.retry_when is not None:
        described = {"class": type(error).__name__, "message": text_of(error)}
        try:
            delay = step_expressions.next_attempt(job, FAILED, error=described)
        except BaseException as mistake:
            # whatever it is, the attempt has ended: nobody else would end its task
            error = mistake
        is_retryable = delay is not None
    return outcome.failed(
        job.task, ErrorRecord.of(error), is_retryable=is_retryable, retry_after=delay,
        ends_run=isinstance(error, ExpressionError) and error.ends_run, **times(job),
    )  # fmt: skip


def conclude_escaped(job: Job, error: BaseException) -> Outcome:
    """Turn what was raised by what runs a job, not by its handler, into an outcome: the attempt fails, nothing else."""
    # the failure itself is logged once it is settled
    logger.warning("an attempt was ended by what runs it", exc_info=error, extra=log_fields(job.task))
    return conclude_error(job, error)


def times(job: Job) -> dict[str, Any]:
    """Return when the attempt began and ended, and what it emitted."""
    job.ended_at = time.monotonic()
    return {"begun_at": job.begun_at, "ended_at": job.ended_at, "events": job.context.events}


# a step's own expressions may read the database, which a loop's thread may not
_aarguments = sync_to_async(arguments, thread_sensitive=True)
_aconclude = sync_to_async(conclude, thread_sensitive=True)
_aconclude_error = sync_to_async(conclude_error, thread_sensitive=True)
