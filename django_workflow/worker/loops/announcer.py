"""Announcing runs that ended, in a thread of its own: what receivers do keeps no task waiting."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue

from django_workflow.definition.containment import leave_to_operator, log_anyway
from django_workflow.engine.reporting import announcements
from django_workflow.engine.reporting.announcements import Ended
from django_workflow.worker.jobs import connections

logger = logging.getLogger("django_workflow.worker")

#: Seconds that the end of a worker waits for receivers; runs that are not announced by then are lost to them.
LAST_WORDS = 10.0


class Announcer:
    """A thread that calls the site's receivers, one run after the other."""

    def __init__(self) -> None:
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="django_workflow-announcer", daemon=True)

    def start(self) -> None:
        """Announce from now on the runs that end in this process."""
        announcements.sinks.append(self._ended.put)
        self._thread.start()

    def stop(self) -> None:
        """Announce what is left, as far as receivers take no longer than the end of a worker waits."""
        announcements.sinks.remove(self._ended.put)
        self._ended.put(None)
        self._thread.join(LAST_WORDS)
        if self._thread.is_alive():
            logger.warning("receivers of run_failed and run_ended take too long: some runs are not told of")

    def _run(self) -> None:
        try:
            while (ended := self._ended.get()) is not None:
                try:
                    announcements.tell_of(ended, mend=_mend)
                except BaseException as error:
                    leave_to_operator(error)
                    log_anyway(logger.exception, "runs that ended cannot be told of")
        finally:
            connections.close_all()


def _mend() -> None:
    """Let the next receiver find this thread's connections as new, whatever the last one or the server did."""
    connections.leave_healthy()
    connections.close_ended()
