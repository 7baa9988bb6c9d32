"""A claimed task on its way through a worker: waiting, begun once, ended once."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable

from django_workflow.conf import conf
from django_workflow.definition.registry import Handler
from django_workflow.engine.claim import ClaimedTask
from django_workflow.worker.capture import LogCapture
from django_workflow.worker.context import Cancelled, Context


class Job:
    """One attempt in this process.

    claimed_at, begun_at, ended_at: monotonic seconds.
    is_atomic: handler and settle are one transaction, for the run's version or today's code says so.
    is_ready: the handler can start, so its timeout runs; a new process takes its time before that.
    is_reported: an outcome was handed in already (it timed out, or was withdrawn); a later result is late.
    """

    __slots__ = (
        "_interruption",
        "_lock",
        "_thread_id",
        "_ticket",
        "begun_at",
        "claimed_at",
        "context",
        "ended_at",
        "handler",
        "is_atomic",
        "is_interrupted",
        "is_ready",
        "is_reported",
        "log",
        "stop",
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
        self.is_ready = True
        self.is_reported = False
        self.is_interrupted = False
        self.stop: Callable[[], object] | None = None
        self._ticket = [True]
        self._lock = threading.Lock()
        self._thread_id: int | None = None

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

    def withdraw(self) -> bool:
        """Take the ticket so that the job never begins; False where it has begun."""
        return self._take_ticket()

    def _take_ticket(self) -> bool:
        try:
            return self._ticket.pop()  # atomic: of two takers one finds it empty
        except IndexError:
            return False

    @property
    def deadline(self) -> float | None:
        """When the attempt times out, in monotonic seconds."""
        if self.timeout is None or self.begun_at is None or not self.is_ready:
            return None
        return self.begun_at + self.timeout

    def enter_handler(self) -> None:
        """From here on this thread may be interrupted."""
        with self._lock:
            self._thread_id = threading.get_ident()
            interrupted = self.is_interrupted
        if interrupted:
            raise Cancelled

    def leave_handler(self) -> None:
        """From here on this thread is not interrupted any more."""
        with self._lock:
            thread_id, self._thread_id = self._thread_id, None
            if self.is_interrupted and thread_id is not None:
                # an exception that is set but not yet raised must not hit the next job
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), None)

    def interrupt(self) -> None:
        """Tell the handler to stop: the context says so, and what runs it is stopped as far as it can be."""
        self.context.cancelled = True
        with self._lock:
            if self.is_interrupted:
                return
            self.is_interrupted = True
            if self._thread_id is not None:
                exception = ctypes.py_object(Cancelled)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread_id), exception)
        if self.stop is not None:
            self.stop()


def timeout_of(task: ClaimedTask, *, is_atomic: bool) -> float | None:
    """Return an attempt's timeout in seconds: the step's, else the settings', else none."""
    if task.step.timeout is not None:
        return task.step.timeout
    if is_atomic:
        return conf.ATOMIC_TIMEOUT.total_seconds()
    return None if conf.TIMEOUT is None else conf.TIMEOUT.total_seconds()
