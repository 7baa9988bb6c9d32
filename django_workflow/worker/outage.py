"""A database that is away, and that it is back: each told once, however many threads of a worker meet it."""

from __future__ import annotations

import logging
import threading
import time

from django_workflow import db

logger = logging.getLogger("django_workflow.worker")


class Outage:
    """Which threads of a worker cannot reach the database now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        self._began_at = 0.0

    def meet(self, who: str, error: BaseException) -> bool:
        """Note that a thread met an error; False where it is not one of the connection, and is for the thread to tell.

        The first one to meet an outage tells it.
        """
        if not (isinstance(error, Exception) and db.is_of_connection(error)):
            return False
        with self._lock:
            is_first = not self._waiting
            self._waiting.add(who)
            if is_first:
                self._began_at = time.monotonic()
        # outside: whoever is interrupted while logging must not keep the lock
        if is_first:
            logger.warning("the database cannot be reached, trying again: %s", error)
        return True

    def end(self, who: str) -> None:
        """Note that a thread reaches the database; the last one to find it back tells that."""
        if who not in self._waiting:
            return
        with self._lock:
            self._waiting.discard(who)
            is_over = not self._waiting
        if is_over:
            logger.warning("the database is back, after %.1f s", time.monotonic() - self._began_at)
