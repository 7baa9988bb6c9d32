"""Executing a run here and now: same verbs and rows as a worker, without queues."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from django.db import transaction

from django_workflow import arguments, db
from django_workflow.conf import conf
from django_workflow.definition.registry import Handler, registry
from django_workflow.engine.due import arrivals
from django_workflow.engine.settling.settle import Settled, settle
from django_workflow.engine.stored import locking
from django_workflow.engine.stored.locking import check_isolation, lock_runs
from django_workflow.engine.tasks import local, outcome
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.engine.writing import runs, tasks
from django_workflow.exceptions import UnregisteredHandler
from django_workflow.read.run import waiting
from django_workflow.statuses import RUN_TERMINAL, SUCCEEDED, TIMED_OUT
from django_workflow.worker.jobs import invoke, missing_code
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.logs import capture, writer

T = TypeVar("T")

logger = logging.getLogger("django_workflow")

#: How long a settle waits for a run that an operator's request holds.
WAIT_MS = 30_000
#: Seconds between tries where PostgreSQL cannot do now what the execution needs.
PAUSES = (0.01, 0.1, 1.0)
HOLD_LEASE = "SELECT pg_advisory_lock(%s), current_setting('transaction_isolation')"
DROP_LEASE = "SELECT pg_advisory_unlock(%s)"
IS_LOCAL = "SELECT is_local FROM django_workflow_run WHERE id = %s"
NEXT_DUE = """
    SELECT extract(epoch FROM least(
        (SELECT min(t.due_at) FROM django_workflow_steprun s JOIN django_workflow_task t ON t.step_run_id = s.id
         WHERE s.run_id = w.id AND s.status = 'running' AND t.status = 'queued'),
        (SELECT min(due_at) FROM django_workflow_arrival WHERE run_id = w.id AND generation IS NULL)
    ) - clock_timestamp())::float8
    FROM (SELECT %s::uuid AS id) w
"""


def execute_run(
    run_id: UUID, *, timeout: timedelta | None = None, handlers: Mapping[str, Handler] | None = None
) -> None:
    """Execute the tasks of a local run in this thread until it settles.

    timeout: past it the run ends `timed_out`; a handler that runs then is stopped.
    handlers: functions of this run alone, looked up before the registered ones.
    A run that an earlier start gave to the workers is only waited for; past the timeout that raises `WaitTimeout`.
    """
    patience = arguments.patience(timeout, "timeout=")
    if not db.rows(IS_LOCAL, [run_id])[0][0]:
        waiting.until_settled(run_id, patience)
        return
    deadline = None if patience is None else time.monotonic() + patience
    known: list[int] = []
    with local_lease(run_id):
        while _again(lambda: waiting.status_of(run_id)) not in RUN_TERMINAL:
            if deadline is not None and time.monotonic() >= deadline:
                _again(lambda: _end_timed_out(run_id))
                return
            task = _claim(run_id, known)
            if task is not None:
                known += _settle(perform(task, deadline, handlers))
            elif not arrivals.arrive_in([run_id], wait_ms=WAIT_MS):
                _sleep_until_due(run_id, deadline)


@contextmanager
def local_lease(run_id: UUID) -> Iterator[None]:
    """Hold the run's advisory lock: as long as this session lives the run is not lost; may be held twice."""
    key = locking.local_lease_key(run_id)
    isolation = db.rows(HOLD_LEASE, [key])[0][1]
    try:
        if db.in_transaction():
            check_isolation(isolation)
        yield
    finally:
        _drop_lease(key)


def _drop_lease(key: int) -> None:
    """Drop a run's lock; where the session is gone, so is the lock."""
    try:
        _again(lambda: db.rows(DROP_LEASE, [key]))
    except Exception as error:
        if db.is_for_good(error):
            raise
        logger.warning("the lock of a run stays with its session: %s", error)


def _again(work: Callable[[], T]) -> T:
    """Do something of the engine's, a few times where PostgreSQL cannot do it now.

    In the caller's transaction an error is the end of it, unless all that was done since is undone by a savepoint.
    """
    for pause in PAUSES:
        try:
            return work()
        except Exception as error:
            if db.is_of_connection(error) or not db.is_retryable(error) or db.has_failed():
                raise
            logger.warning("what the execution of a run needs is tried again: %s", error)
        time.sleep(pause)
    return work()


def _claim(run_id: UUID, known: list[int]) -> ClaimedTask | None:
    """Take the next task; one that was taken without our knowing what it needs is put back first."""
    return _again(lambda: _claim_or_put_back(run_id, known))


def _claim_or_put_back(run_id: UUID, known: list[int]) -> ClaimedTask | None:
    try:
        return local.claim_local(run_id, known)
    except Exception as error:
        if db.is_retryable(error) and not db.is_of_connection(error) and not db.has_failed():
            _again(lambda: _put_back(run_id))
        raise


def _put_back(run_id: UUID) -> None:
    with db.atomic():
        if run_id in lock_runs([run_id], wait_ms=WAIT_MS):
            tasks.put_back(run_id)


def perform(
    task: ClaimedTask, deadline: float | None = None, handlers: Mapping[str, Handler] | None = None
) -> Outcome | Settled:
    """Run one claimed task in this thread.

    deadline: monotonic seconds at which the handler is stopped, besides its own timeout.
    Returns its outcome, or what the settle did where the step is atomic.
    """
    handler = (handlers or {}).get(task.step.handler) or registry.handler(task.step.handler)
    if handler is None:
        code = missing_code.missing_code(task)
        error = UnregisteredHandler(f"This process has no code for {code}: {code.cause}. To mend it, {code.remedy}.")
        return outcome.failed(task, outcome.ErrorRecord.of(error), is_retryable=False)
    job = Job(task, handler)
    lines: list[capture.LogLine] = []
    job.log.sink = lines.append
    job.begin()
    limits = [limit for limit in (job.deadline, deadline) if limit is not None]
    alarm = threading.Timer(min(limits) - time.monotonic(), job.interrupt) if limits else None
    if alarm is not None:
        alarm.daemon = True
        alarm.start()
    try:
        with capture.capturing():
            return _judge(job, _call(job))
    finally:
        if alarm is not None:
            alarm.cancel()
        _store(lines)


def _store(lines: Sequence[capture.LogLine]) -> None:
    """Store what a handler logged; what became of it does not depend on that."""
    try:
        with db.batch():
            writer.store(lines)
    except Exception as error:
        logger.warning("%d lines that a handler logged cannot be stored: %s", len(lines), error)


def _call(job: Job) -> Outcome | Settled:
    if job.is_atomic:
        return invoke.call_atomic(job)
    with _usable_transaction():
        return invoke.call_here(job)


@contextmanager
def _usable_transaction() -> Iterator[None]:
    """Undo what a handler did to the caller's transaction where PostgreSQL accepts no more statements in it."""
    if not db.in_transaction():
        yield
        return
    with db.atomic():  # a savepoint
        yield
        if db.has_failed():
            transaction.set_rollback(True, using=conf.DATABASE)


def _judge(job: Job, result: Outcome | Settled) -> Outcome | Settled:
    """Say what became of an attempt that was stopped: past its own timeout it timed out, past the run's it is over."""
    if not job.is_interrupted or isinstance(result, Settled):
        return result
    if job.timeout is not None and job.deadline is not None and time.monotonic() >= job.deadline:
        return outcome.timed_out(job.task, job.timeout, begun_at=job.begun_at)
    if result.kind == SUCCEEDED:
        return result
    return outcome.released(job.task, "execute() took longer than its timeout", begun_at=job.begun_at)


def _settle(result: Outcome | Settled) -> list[int]:
    """Settle an outcome, unless its step was atomic; return the tasks that follow."""
    if isinstance(result, Settled):
        return result.local
    return _again(lambda: settle([result], wait_ms=WAIT_MS)).local


def _sleep_until_due(run_id: UUID, deadline: float | None) -> None:
    """Wait for a retry's time; without one the run is paused or waits for somebody, who notifies."""
    seconds = _again(lambda: db.rows(NEXT_DUE, [run_id]))[0][0]
    nap = waiting.POLL if seconds is None else max(0.0, seconds)
    if deadline is not None:
        nap = min(nap, max(0.0, deadline - time.monotonic()))
    time.sleep(nap)


def _end_timed_out(run_id: UUID) -> None:
    with db.atomic():
        locked = lock_runs([run_id], wait_ms=WAIT_MS)
        unsettled = [run for run in locked.values() if run.status not in RUN_TERMINAL]
        runs.end(unsettled, TIMED_OUT, reason="execute() took longer than its timeout")
