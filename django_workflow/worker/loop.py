"""What the worker's threads beside the dispatcher have in common."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

from django_workflow import db
from django_workflow.worker.outage import Outage

#: Seconds that the end of a worker waits for a thread of this kind.
STOP_WITHIN = 5.0


class Loop:
    """A thread with a database connection of its own, which calls `round` until it is stopped.

    A round that fails costs the connection and a pause, never the thread: the next round begins anew.
    """

    #: What the thread does; part of its name.
    name: ClassVar[str]
    logger: ClassVar[logging.Logger] = logging.getLogger("django_workflow.worker")
    #: Seconds until the first round, and after a round that failed.
    first_after = 0.0
    retry_after = 1.0

    def __init__(self, outage: Outage | None = None) -> None:
        self._outage = outage or Outage()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"django_workflow-{self.name}", daemon=True)

    def start(self) -> None:
        """Begin the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its round."""
        self._stopping.set()
        self._thread.join(STOP_WITHIN)

    def round(self) -> float:
        """Do the work once; return the seconds until the next round."""
        raise NotImplementedError

    def recover(self) -> None:
        """Forget what a round that failed has left behind."""

    def finish(self) -> None:
        """Do what is left after the last round."""

    def attempt(self, work: Callable[[], float]) -> float:
        """Do a round's work; an outage is logged once for all threads, any other error where it happens."""
        try:
            seconds = work()
            self._outage.end(self.name)
        except BaseException as error:
            if not self._outage.meet(self.name, error):
                self.logger.warning("the %s failed, trying again", self.name, exc_info=True)
            self.recover()
            with suppress(Exception):
                db.close()
            return self.retry_after
        return seconds

    def _run(self) -> None:
        db.serve_worker()
        try:
            self._stopping.wait(self.first_after)
            while not self._stopping.is_set():
                self._stopping.wait(self.attempt(self.round))
            self.finish()
        finally:
            db.close()
