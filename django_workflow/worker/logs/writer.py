"""Storing what handlers logged: collected in memory, written in batches by a thread with a connection of its own."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from queue import SimpleQueue

from django_workflow import db
from django_workflow.worker.logs import capture
from django_workflow.worker.logs.capture import LogLine
from django_workflow.worker.loop import Loop
from django_workflow.worker.outage import Outage

logger = logging.getLogger("django_workflow.worker")

#: Seconds after which a line is written, and lines after which it is written sooner.
FLUSH_EVERY = 0.5
BATCH = 1_000
#: Lines kept while the database is away; more are dropped.
MOST = 20_000

LINES = db.Columns(
    "n", run_id="uuid", task_id="bigint", attempt="int", level="int2", created="float8", logger="text", message="text"
)
INSERT_LINES = f"""
    INSERT INTO django_workflow_tasklog (run_id, task_id, attempt, level, created_at, logger, message)
    SELECT n.run_id, n.task_id, n.attempt, n.level, clock_timestamp() - make_interval(secs => n.created),
           n.logger, n.message
    FROM {LINES.numbered}
    ORDER BY n.place
"""  # noqa: S608  a constant


def store(lines: Sequence[LogLine]) -> None:
    """Insert lines in their order; their times become the database's.

    Pages of their runs are notified: the last lines come after the notice of the handler's end.
    """
    if lines:
        db.connection().ensure_connection()  # which takes a while at first, by which the lines would seem younger
        now = time.time()
        aged = [line._replace(created=max(0.0, now - line.created)) for line in lines]
        db.execute(INSERT_LINES, LINES.of(aged))
        db.notify_after_commit([(db.RUN_CHANNEL, str(run)) for run in dict.fromkeys(line.run_id for line in lines)])


class LogWriter(Loop):
    """Writes what is put, about every half second; it sleeps while nothing is.

    write: called with a batch of lines, in order.
    every: seconds it lets lines collect.
    """

    name = "log-writer"
    retry_after = 0.0  # the next round lets lines collect

    def __init__(
        self,
        write: Callable[[Sequence[LogLine]], None] = store,
        every: float = FLUSH_EVERY,
        outage: Outage | None = None,
    ) -> None:
        super().__init__(outage)
        self._write = write
        self._every = every
        self._lines: deque[LogLine] = deque()
        self._dropped = 0
        # a handler's thread may be interrupted anywhere; putting into a SimpleQueue is safe there
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._writing = threading.Lock()
        self._capturing = ExitStack()

    def start(self) -> None:
        """Begin to capture and to write."""
        self._capturing.enter_context(capture.capturing())
        capture.sinks.append(self.put)
        super().start()

    def stop(self) -> None:
        """Write what is left and end."""
        capture.sinks.remove(self.put)
        self._capturing.close()
        self._stopping.set()
        self._wake.put(None)
        super().stop()

    def put(self, line: LogLine) -> None:
        """Take a line; never waits."""
        if len(self._lines) >= MOST:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._wake.empty():
            self._wake.put(None)

    def flush(self, *, is_last: bool = False) -> None:
        """Write all there is now; the last time what cannot be written is dropped."""
        with self._writing:
            while self._lines:
                batch = [self._lines.popleft() for _ in range(min(BATCH, len(self._lines)))]
                try:
                    self._write(batch)
                except Exception as error:
                    if db.is_for_good(error) or is_last:
                        logger.warning("%d lines that handlers logged cannot be stored: %s", len(batch), error)
                        continue
                    self._lines.extendleft(reversed(batch))
                    raise
            if self._dropped:
                logger.warning("%d lines that handlers logged were dropped: too many at once", self._dropped)
                self._dropped = 0

    def round(self) -> float:
        """Wait for a line, let others collect, write them."""
        self._wake.get()
        self._collect()
        return self._flushed()

    def recover(self) -> None:
        """Write again what could not be written."""
        self._wake.put(None)

    def finish(self) -> None:
        """Write what is left; a database that is away is tried three times."""
        for is_last in (False, False, True):
            self.attempt(functools.partial(self._flushed, is_last=is_last))

    def _flushed(self, *, is_last: bool = False) -> float:
        self.flush(is_last=is_last)
        return 0.0

    def _collect(self) -> None:
        """Wait until there is a batch, or for as long as lines may wait."""
        until = time.monotonic() + self._every
        while len(self._lines) < BATCH and time.monotonic() < until:
            if self._stopping.wait(self._every / 10):
                return
