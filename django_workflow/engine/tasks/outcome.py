"""What a worker hands to settle: how an attempt ended."""

from __future__ import annotations

import hashlib
import re
import traceback
from dataclasses import dataclass, field, replace
from typing import Any

from django_workflow.definition.containment import leave_to_operator, text_of
from django_workflow.definition.retry import class_name, class_names
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.statuses import FAILED, LOST, RELEASED, SKIPPED, SUCCEEDED, TIMED_OUT
from django_workflow.text import storable

#: What differs between two errors of one kind: ids, addresses, numbers, quoted values.
VARYING = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|0x[0-9a-f]+|\d+(?:[.,]\d+)*|'[^']*'|\"[^\"]*\"")
MAX_MESSAGE = 2_000
#: Seconds after which a task begins again that an engine lost before it began.
LOST_AGAIN = 1.0
MAX_TRACEBACK = 20_000


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An error as it is stored; `classes` are the names of its class and bases.

    exception: the exception itself, in the process in which it was raised, where it has a traceback.
    """

    error_class: str
    message: str
    traceback: str = ""
    classes: tuple[str, ...] = ()
    exception: BaseException | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, error: BaseException) -> ErrorRecord:
        """Record an exception."""
        text = _traceback_of(error)
        return cls(
            class_name(type(error)),
            storable(text_of(error))[:MAX_MESSAGE],
            storable(text)[-MAX_TRACEBACK:],
            class_names(error),
            error if text else None,  # what cannot be written down cannot be logged either
        )

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for errors that differ only in numbers, quoted values and addresses."""
        first_line = self.message.splitlines()[0] if self.message else ""
        normal = VARYING.sub("#", first_line)
        return hashlib.sha256(f"{self.error_class}:{normal}".encode()).hexdigest()[:16]


def _traceback_of(error: BaseException) -> str:
    """Return an exception's traceback, without which it is recorded where its class breaks that."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as failure:
        leave_to_operator(failure)
        return ""


@dataclass(slots=True, eq=False)
class Outcome:
    """How one attempt of one task ended.

    output: JSON text of a success.
    is_retryable: False fails the step whatever attempts are left.
    retry_after: seconds the handler asked for; wins over the step's backoff.
    ends_run: a failure that no transition handles.
    is_counted: whether a failure, loss or release counts against max_attempts.
    begun_at, ended_at: seconds of `time.monotonic()` in this process; None where the handler did not begin.
    words: why the handler skips its step, or the worker hands the task back.
    reason: of `NO_CODE_REASONS`, where the worker does not have some code. missing_code: the name of that code.
    events: what the handler emitted, as pairs of type and JSON text.
    """

    task: ClaimedTask
    kind: str
    output: str | None = None
    error: ErrorRecord | None = None
    is_retryable: bool = True
    ends_run: bool = False
    retry_after: float | None = None
    is_counted: bool = True
    words: str = ""
    reason: str = ""
    missing_code: str = ""
    begun_at: float | None = None
    ended_at: float | None = None
    events: list[tuple[str, str]] = field(default_factory=list)

    @property
    def was_lost_before(self) -> bool:
        """Whether it is about the attempt before this claim, which met a task that another worker had."""
        return self.kind == LOST and self.task.is_lost

    @property
    def attempt(self) -> int:
        """The number of the attempt that ended; the claim that meets a lost one has drawn the next number."""
        return self.task.attempt - self.was_lost_before

    @property
    def duration_ms(self) -> int | None:
        """How long the handler took; None where it did not begin here."""
        if self.begun_at is None or self.ended_at is None:
            return None
        return round((self.ended_at - self.begun_at) * 1000)

    def as_failure(self, error: BaseException) -> Outcome:
        """Return this outcome turned into a final failure by `error`, without what may have caused it."""
        return replace(
            self, kind=FAILED, output=None, error=ErrorRecord.of(error), is_retryable=False, words="", events=[]
        )

    def as_begun(self, begun_at: float) -> Outcome:
        """Return this loss as one that counts, for its handler had begun; `begun_at` in monotonic seconds."""
        return replace(self, is_counted=True, retry_after=None, begun_at=begun_at)

    def as_mistake_of_strategy(self, mistake: BaseException) -> Outcome:
        """Return this failed outcome as a final one: the step's retry strategy gave no delay.

        The record has the class of the mistake, and says what the handler had failed with.
        """
        record, handler = ErrorRecord.of(mistake), self.error
        message, trace = f"the retry strategy of step {self.task.step.name!r}: {record.message}", record.traceback
        if handler is not None:
            message = f"{message}; its handler had failed with {handler.error_class}: {handler.message}"
            trace = f"{handler.traceback}\n{trace}"
        error = replace(record, message=message[:MAX_MESSAGE], traceback=trace[-MAX_TRACEBACK:])
        return replace(self, kind=FAILED, output=None, error=error, is_retryable=False, events=[])


def succeeded(task: ClaimedTask, output: str, **more: Any) -> Outcome:
    """The handler returned an output."""
    return Outcome(task, SUCCEEDED, output=output, **more)


def failed(task: ClaimedTask, error: ErrorRecord, **more: Any) -> Outcome:
    """The handler raised, or what it returned cannot be used."""
    return Outcome(task, FAILED, error=error, **more)


def timed_out(task: ClaimedTask, seconds: float, **more: Any) -> Outcome:
    """The attempt ran longer than its timeout.

    It is the last one where a condition decides about another: that is asked when a handler ends, and this one has not.
    """
    message = f"step {task.step.name!r} ran longer than its timeout of {seconds:g} s"
    error = ErrorRecord("TimedOut", message, classes=("TimedOut",))
    return Outcome(task, TIMED_OUT, error=error, is_retryable=task.step.retry_when is None, **more)


def lost(task: ClaimedTask, lease: float) -> Outcome:
    """Another worker had the task and did not extend its lease of so many seconds; counts if the handler had begun."""
    message = f"The worker did not report within its lease ({lease:g} s)."
    error = ErrorRecord("WorkerLost", message, classes=("WorkerLost",))
    return Outcome(task, LOST, error=error, is_counted=task.is_begun)


def lost_elsewhere(task: ClaimedTask, why: str, *, has_begun: bool, **more: Any) -> Outcome:
    """What executed the handler is gone, and the worker is not; counts if the handler had begun, or was lost before.

    What does not count is tried again soon.
    """
    error = ErrorRecord("WorkerLost", storable(why)[:MAX_MESSAGE], classes=("WorkerLost",))
    is_counted = has_begun or task.lost_count > 0
    delay = None if is_counted else LOST_AGAIN
    return Outcome(task, LOST, error=error, is_counted=is_counted, retry_after=delay, **more)


def released(task: ClaimedTask, words: str, *, delay: float = 0.0, **more: Any) -> Outcome:
    """The worker hands the task back unfinished; never counted."""
    return Outcome(task, RELEASED, words=words, retry_after=delay, is_counted=False, **more)


def skipped(task: ClaimedTask, words: str, **more: Any) -> Outcome:
    """The handler ended its step as skipped."""
    return Outcome(task, SKIPPED, words=words, **more)
