"""A claimed task on its way through a worker: waiting, begun once, ended once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import CodeType

from django_workflow.conf import conf
from django_workflow.definition.registry import Handler
from django_workflow.engine.tasks.claimed import ClaimedTask, log_fields
from django_workflow.worker.jobs import interruption
from django_workflow.worker.jobs.context import Cancelled, Context
from django_workflow.worker.logs.capture import LogCapture

logger = logging.getLogger("django_workflow.worker")


class Job:
    """One attempt in this process.

    claimed_at, begun_at, ended_at: monotonic seconds.
    is_atomic: handler and settle are one transaction, for the run's version or today's code says so.
    is_ready: the handler can start, so its timeout runs; a new process takes its time before that.
    is_reported: an outcome was handed in already (it timed out, or was withdrawn); a later result is late.
    executor: the site's own executor that it was handed to. It waits there until its row says that it has begun.
    """

    __slots__ = (
        "_entry",
        "_is_raised",
        "_lock",
        "_stop",
        "_thread_id",
        "_ticket",
        "begun_at",
        "claimed_at",
        "context",
        "ended_at",
        "executor",
        "handler",
        "is_atomic",
        "is_interrupted",
        "is_ready",
        "is_reported",
        "log",
        "task",
        "timeout",
    )

    def __init__(self, task: ClaimedTask, handler: Handler) -> None:
        self.task = task
        self.handler = handler
        self.context = Context(task)
        self.log = LogCapture(task)
        self.is_atomic = task.step.atomic or handler.atomic
        self.timeout = timeout_of(task, is_atomic=self.is_atomic)
        self.claimed_at = time.monotonic()
        self.begun_at: float | None = None
        self.ended_at: float | None = None
        self.executor: str | None = None
        self.is_ready = True
        self.is_reported = False
        self.is_interrupted = False
        self._ticket = [True]
        self._lock = threading.Lock()
        self._stop: Callable[[], object] | None = None
        self._thread_id: int | None = None
        self._entry: CodeType | None = None
        self._is_raised = False

    def begin(self, *, is_ready: bool = True) -> bool:
        """Take the one ticket to run; False where the job was withdrawn."""
        if not self._take_ticket():
            return False
        self.is_ready = is_ready
        self.begun_at = time.monotonic()
        return True

    def ready(self) -> None:
        """From here on the timeout runs."""
        self.begun_at = time.monotonic()
        self.is_ready = True

    def hand_over(self, executor: str) -> bool:
        """Take the one ticket for an executor of the site's own; False where the job was withdrawn."""
        if not self._take_ticket():
            return False
        self.executor = executor
        return True

    @property
    def waits_elsewhere(self) -> bool:
        """Whether it was handed to an executor of the site's own and is not known to have begun there."""
        return self.executor is not None and self.begun_at is None and self.ended_at is None

    def withdraw(self) -> bool:
        """Take the ticket so that the job never begins; False where it has begun."""
        return self._take_ticket()

    def _take_ticket(self) -> bool:
        try:
            return self._ticket.pop()  # atomic: of two threads one finds it empty
        except IndexError:
            return False

    @property
    def deadline(self) -> float | None:
        """When the attempt times out, in monotonic seconds."""
        if self.timeout is None or self.begun_at is None or not self.is_ready:
            return None
        return self.begun_at + self.timeout

    def enter_handler(self, entry: CodeType) -> None:
        """From here on this thread may be interrupted, in what the function with the code `entry` calls."""
        with self._lock:
            self._entry = entry
            self._thread_id = threading.get_ident()
            interrupted = self.is_interrupted
        if interrupted:
            raise Cancelled

    def leave_handler(self) -> None:
        """From here on this thread is not interrupted any more."""
        with self._lock:
            thread_id, self._thread_id = self._thread_id, None
            if self._is_raised and thread_id is not None:
                # an exception that is set but not yet raised must not hit the next job
                interruption.take_back(thread_id)

    def can_be_stopped(self, stop: Callable[[], object]) -> None:
        """From here on `stop` ends what runs the job; it is called at once where the job was interrupted before."""
        with self._lock:
            self._stop = stop
            interrupted = self.is_interrupted
        if interrupted:
            self._call(stop)

    def cannot_be_stopped(self) -> None:
        """What ran the job has ended; a call of `stop` may still be on its way."""
        self._stop = None

    def interrupt(self) -> None:
        """Tell the handler to stop: the context says so, and what runs it is stopped as far as it can be."""
        self.context.cancelled = True
        with self._lock:
            if self.is_interrupted:
                return
            self.is_interrupted = True
            stop, is_in_thread = self._stop, self._thread_id is not None
        if stop is not None:
            self._call(stop)
        if is_in_thread:
            self.log.at_record = self._raise_here
            interruption.try_until_done(self._raise_there)

    def _call(self, stop: Callable[[], object]) -> None:
        try:
            stop()
        except Exception:
            logger.exception("what runs a handler cannot be stopped", extra=log_fields(self.task))

    def _raise_here(self) -> None:
        """Raise `Cancelled` in the handler's own thread, which holds no lock here."""
        with self._lock:
            if self._is_raised or self._thread_id != threading.get_ident():
                return
            self._is_raised = True
        raise Cancelled

    def _raise_there(self) -> bool:
        """Raise `Cancelled` in the handler's thread if that is safe now; returns whether nothing is left to do."""
        with self._lock:
            if self._thread_id is None or self._entry is None or self._is_raised:
                return True
            self._is_raised = interruption.raise_in(self._thread_id, Cancelled, self._entry)
            return self._is_raised


def timeout_of(task: ClaimedTask, *, is_atomic: bool) -> float | None:
    """Return an attempt's timeout in seconds: the step's, else the settings', else none."""
    if task.step.timeout is not None:
        return task.step.timeout
    if is_atomic:
        return conf.ATOMIC_TIMEOUT.total_seconds()
    return None if conf.TIMEOUT is None else conf.TIMEOUT.total_seconds()
