"""The worker's own log records: made where something happens, handled by a thread that nobody waits for.

The site's logging handlers take locks and may write to anything: a pipe that nobody reads, a server that is away.
Whoever keeps a worker alive must not wait for them.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

#: The loggers of what keeps a worker alive; a handler's own records are made and handled in its thread.
NAMES = (
    "django_workflow", "django_workflow.worker", "django_workflow.failures", "django_workflow.keeper",
    "django_workflow.events",
)  # fmt: skip
#: Seconds that the end of a worker waits for its last records.
LAST_WORDS = 5.0


class RecordQueue(logging.Filter):
    """A filter that takes records from their loggers, and a thread that gives them to the site's logging handlers.

    Several workers in one process share it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._records: SimpleQueue[logging.LogRecord | threading.Event | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._users = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take records from now on."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._thread = threading.Thread(target=self._run, name="django_workflow-records", daemon=True)
                self._thread.start()
                for name in NAMES:
                    logging.getLogger(name).addFilter(self)

    def stop(self) -> None:
        """Let what was taken be handled; then records are handled where they are made, as ever."""
        with self._lock:
            self._users -= 1
            if self._users or self._thread is None:
                return
            for name in NAMES:
                logging.getLogger(name).removeFilter(self)
            thread, self._thread = self._thread, None
            self._records.put(None)
        thread.join(LAST_WORDS)

    def flush(self, seconds: float) -> None:
        """Wait until what was taken before is handled, but no longer than so many seconds."""
        is_handled = threading.Event()
        self._records.put(is_handled)
        is_handled.wait(seconds)

    def filter(self, record: logging.LogRecord) -> bool:
        """Take a record: its logger does nothing more with it."""
        self._records.put(record)
        return False

    def _run(self) -> None:
        while (record := self._records.get()) is not None:
            if isinstance(record, threading.Event):
                record.set()
                continue
            logger = logging.getLogger(record.name)
            try:
                logger.callHandlers(record)
            except BaseException:  # of a handler of the site's, which ends no thread of ours
                if logging.raiseExceptions and logging.lastResort is not None:
                    logging.lastResort.handleError(record)


#: The one of this process.
queue = RecordQueue()
