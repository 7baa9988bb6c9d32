"""A database that is away, and that it is back: each told once, however many threads of a worker meet it."""

from __future__ import annotations

import logging
import threading
import time
from math import inf

from django_workflow import db

logger = logging.getLogger("django_workflow.worker")


class Outage:
    """Which threads of a worker cannot reach the database now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[str] = set()
        #: When each thread reached the database last, and when the last outage began and ended.
        self._reached_at: dict[str, float] = {}
        self._began_at = 0.0
        self._ended_at = -inf

    def meet(self, who: str, error: BaseException) -> bool:
        """Note that a thread met an error; False where it is not one of the connection, and is for the thread to tell.

        The first one to meet an outage tells it. Who finds only afterwards that it broke its connection, too, tells
        nothing.
        """
        if not (isinstance(error, Exception) and db.is_of_connection(error)):
            return False
        now = time.monotonic()
        with self._lock:
            if who not in self._waiting and self._reached_at.get(who, 0.0) < self._ended_at:
                self._reached_at[who] = now
                return True
            is_first = not self._waiting
            self._waiting.add(who)
            if is_first:
                self._began_at = now
        # outside: whoever is interrupted while logging must not keep the lock
        if is_first:
            logger.warning("the database cannot be reached, trying again: %s", error)
        return True

    def end(self, who: str) -> None:
        """Note that a thread reaches the database; the last one to find it back tells that."""
        now = self._reached_at[who] = time.monotonic()
        if who not in self._waiting:
            return
        with self._lock:
            self._waiting.discard(who)
            is_over = not self._waiting
            if is_over:
                self._ended_at = now
        if is_over:
            logger.warning("the database is back, after %.1f s", now - self._began_at)
