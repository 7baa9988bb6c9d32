"""What a handler logs while it runs: recognised by a context variable, cut to size, handed on as lines.

One `logging.Handler` on the root logger serves all handlers of a process. It takes no lock and waits for nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, NamedTuple
from uuid import UUID

from django_workflow.conf import conf
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.text import storable

#: The logger of `ctx.logger`.
HANDLER_LOGGER = "django_workflow.handler"
#: The engine's own loggers, whose records belong to no handler.
ENGINE_LOGGERS = "django_workflow"
#: Most characters of a line and of a logger's name.
MAX_MESSAGE = 10_000
MAX_LOGGER = 200
#: The largest level the table holds.
MAX_LEVEL = 32_767


class LogLine(NamedTuple):
    """One line of one attempt; `created` is in seconds since the epoch, by this machine's clock."""

    run_id: UUID
    task_id: int
    attempt: int
    level: int
    created: float
    logger: str
    message: str


Sink = Callable[[LogLine], None]

#: Where this process's lines go unless an attempt has a sink of its own; the last one counts.
sinks: list[Sink] = []


class LogCapture:
    """The lines of one attempt, at most `LOG_LINES`, taken while its `with` block runs.

    sink: where they go; None means the process's.
    at_record: called before each record is made, whatever becomes of it; may raise.
    """

    __slots__ = ("_taken", "_task", "_token", "at_record", "sink")

    def __init__(self, task: ClaimedTask) -> None:
        self.sink: Sink | None = None
        self.at_record: Callable[[], None] | None = None
        self._task = task
        self._taken = 0
        self._token: Token[LogCapture | None] | None = None

    def __enter__(self) -> None:
        self._token = current.set(self)

    def __exit__(self, *error: object) -> None:
        if self._token is not None:
            current.reset(self._token)
        left_out = self._taken - conf.LOG_LINES
        if left_out > 0 and conf.LOG_LINES:
            self.put(self._line(logging.WARNING, time.time(), HANDLER_LOGGER, _left_out(left_out)))

    def take(self, record: logging.LogRecord) -> None:
        """Take a record as a line, while there is room."""
        self._taken += 1
        if self._taken <= conf.LOG_LINES:
            self.put(self._line(record.levelno, record.created, record.name, text_of(record)))

    def put(self, line: LogLine) -> None:
        """Hand a line on."""
        sink = self.sink or (sinks[-1] if sinks else None)
        if sink is not None:
            sink(line)

    def _line(self, level: int, created: float, logger: str, message: str) -> LogLine:
        task = self._task
        level = min(max(level, 0), MAX_LEVEL)
        return LogLine(task.run_id, task.id, task.attempt, level, created, storable(logger[:MAX_LOGGER]), message)


#: The attempt whose handler runs here. Threads of a handler's own do not inherit it.
current: ContextVar[LogCapture | None] = ContextVar("django_workflow_attempt", default=None)


def _left_out(count: int) -> str:
    lines = "line was" if count == 1 else "lines were"
    return f"{count:,} more {lines} left out: LOG_LINES is {conf.LOG_LINES}"


_formatter = logging.Formatter("%(message)s")


def text_of(record: logging.LogRecord) -> str:
    """Return a record's message with its traceback, as it can be stored; never raises."""
    try:
        text = _formatter.format(record)
    except Exception as error:
        template = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"
        text = f"{template} (its text cannot be made: {type(error).__name__})"
    if len(text) > MAX_MESSAGE:
        text = f"{text[:MAX_MESSAGE]}… ({len(text):,} characters)"
    return storable(text)


def wants(logger: str) -> bool:
    """Say whether a logger's records may belong to a handler: the engine's own do not."""
    return logger == HANDLER_LOGGER or not (logger == ENGINE_LOGGERS or logger.startswith(f"{ENGINE_LOGGERS}."))


def is_loud(level: int) -> bool:
    """Say whether a record is captured by its level."""
    return level >= logging.getLevelNamesMapping().get(conf.LOG_LEVEL, logging.INFO)


class CaptureHandler(logging.Handler):
    """Gives records to the attempt in whose handler they were made."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture a record; without the lock that other logging handlers take."""
        self.emit(record)
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and _is_alone(self, record):
            last.handle(record)  # Python prints what no logging handler takes; that we listen must not end it
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Capture a record."""
        capture = current.get()
        if capture is not None and is_loud(record.levelno) and wants(record.name):
            capture.take(record)


def _is_alone(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Say whether no other logging handler gets this record."""
    root = logging.getLogger()
    if len(root.handlers) > 1:
        return False
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger is not root:
        if logger.handlers:
            return False
        logger = logger.parent
    return root.handlers == [handler]


class RecordFactory:
    """Makes the records of this process as they were made before, and asks the attempt first.

    A handler can be stopped here while it logs: `logging` holds no lock.
    """

    def __init__(self) -> None:
        self._make: Callable[..., logging.LogRecord] | None = None

    def install(self) -> None:
        """Make records from now on."""
        if self._make is None:
            self._make = logging.getLogRecordFactory()
            logging.setLogRecordFactory(self)

    def remove(self) -> None:
        """Let the factory that was there before make them; one that the site has set meanwhile may call this one."""
        if logging.getLogRecordFactory() is self:
            logging.setLogRecordFactory(self._make or logging.LogRecord)
            self._make = None

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a record."""
        check_interruption()
        return (self._make or logging.LogRecord)(*args, **kwargs)


def check_interruption() -> None:
    """Raise where the handler that runs here is to stop."""
    capture = current.get()
    if capture is not None and capture.at_record is not None:
        capture.at_record()


_handler = CaptureHandler()
_factory = RecordFactory()
_users = 0
_users_lock = threading.Lock()


@contextmanager
def capturing() -> Iterator[None]:
    """Listen to the root logger; as long as anybody in this process does, the logging handler is there."""
    global _users  # noqa: PLW0603  the root logger is global, too
    with _users_lock:
        _users += 1
        logging.getLogger().addHandler(_handler)
        if _users == 1:
            _factory.install()
    try:
        yield
    finally:
        with _users_lock:
            _users -= 1
            if not _users:
                logging.getLogger().removeHandler(_handler)
                _factory.remove()


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """The logger of one attempt: what the site's LOGGING lets not through is captured all the same."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message, as `logging.Logger.log` does."""
        if self.logger.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *args, **kwargs)
            return
        check_interruption()
        capture = current.get()
        if capture is not None and is_loud(level):
            capture.take(self._record(level, msg, args, kwargs))

    def _record(
        self, level: int, msg: object, args: tuple[object, ...], kwargs: MutableMapping[str, Any]
    ) -> logging.LogRecord:
        error = kwargs.get("exc_info")
        if isinstance(error, BaseException):
            error = (type(error), error, error.__traceback__)
        elif error and not isinstance(error, tuple):
            error = sys.exc_info()
        return logging.LogRecord(self.logger.name, level, "", 0, msg, args, error or None)
