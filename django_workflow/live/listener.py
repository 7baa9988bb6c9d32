"""The thread that listens to PostgreSQL for a hub."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing

from django_workflow import db, queue
from django_workflow.engine.due.leadership import Leadership
from django_workflow.live.inbox import RESYNC, STALE, Kind, Notice

logger = logging.getLogger("django_workflow.live")

#: Seconds after which another process listens for all when the elected one was not heard of, and between two tries
#: to be elected.
TERM = 5.0
ELECTION = 1.0
#: Seconds after which a thread that hears nothing looks whether it is still wanted.
INTERVAL = 1.0
#: Seconds between two reads while changes keep coming: they double up to the second number. Waking for each costs
#: more than reading, and notices to pages are collected for as long anyway.
NAPS = (0.005, 0.05)
#: Seconds until the next try to connect: they double up to the second number.
RETRIES = (0.05, 5.0)


class Unwanted(Exception):
    """Nobody hears any more: the event loop has ended."""


class Listener:
    """A thread with a connection of its own; it connects anew, by itself, when that breaks.

    tell: called in this thread with what was heard, and whether it is for all processes; raises `Unwanted`.
    is_elected: one among all processes listens for them, for a term that it renews.
    """

    def __init__(self, tell: Callable[[Notice, bool], None], *, is_elected: bool) -> None:
        self._tell = tell
        self._is_elected = is_elected
        self._leadership = Leadership("live", TERM)
        self._is_broken = False
        self._retry = RETRIES[0]
        self._is_stopping = False
        self._bell = db.Bell()
        self._thread = threading.Thread(target=self._run, name="django_workflow-live", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Let it end soon; does not wait for it, and may be called more than once."""
        self._is_stopping = True
        self._bell.ring()

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._listen_until_it_breaks()
        except Unwanted:
            pass
        finally:
            self._bell.close()

    def _listen_until_it_breaks(self) -> None:
        try:
            with closing(db.Listener(())) as listener:
                self._be_elected(listener)
                self._hear(listener)
                self._leadership.resign(listener.rows)
        except Unwanted:
            raise
        except Exception as error:
            # whatever is wrong with the database may be right again later; pages know until then
            self._leadership.doubt()
            if not self._is_broken:
                logger.warning("the connection that listens for live pages was lost, trying again: %s", error)
            self._is_broken = True
            self._tell(STALE, False)
            self._bell.wait(self._retry)
            self._retry = min(RETRIES[1], 2 * self._retry)

    def _be_elected(self, listener: db.Listener) -> None:
        """Wait until this connection listens for all, and say so."""
        while not self._leads(listener):
            self._recover()
            self._bell.wait(ELECTION)
            if self._is_stopping:
                return
        listener.listen([db.RUN_CHANNEL, queue.CHANNEL])
        self._tell(RESYNC, True)
        self._recover()

    def _leads(self, listener: db.Listener) -> bool:
        return not self._is_elected or self._leadership.hold(listener.rows)

    def _recover(self) -> None:
        """The connection works again: say so."""
        if self._is_broken:
            logger.warning("the connection that listens for live pages is back")
        if self._is_broken and self._is_elected:
            self._tell(RESYNC, False)
        self._is_broken, self._retry = False, RETRIES[0]

    def _hear(self, listener: db.Listener) -> None:
        nap = NAPS[0]
        # whose term is over although it listens was frozen: another one listens for all
        while not self._is_stopping and self._leads(listener):
            heard_at = time.monotonic()
            notices = listener.notifications(INTERVAL, self._bell)
            is_busy = time.monotonic() - heard_at < nap
            nap = min(NAPS[1], 2 * nap) if is_busy else NAPS[0]
            runs = frozenset(
                payload for channel, payload in notices if channel == db.RUN_CHANNEL and db.is_run_id(payload)
            )
            is_in_queues = any(channel == queue.CHANNEL for channel, _ in notices)
            self._tell(Notice(Kind.CHANGED, runs, is_in_queues), True)
            if notices:
                self._bell.wait(nap)
