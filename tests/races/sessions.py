"""Database sessions that race: threads, each with a Django connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from django.db import connections

from django_workflow import db
from tests.waiting import eventually

T = TypeVar("T")

#: How long a test waits for what must happen; with a guard removed it waits in vain.
SECONDS = 30.0

WAITS = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"


class Session:
    """A thread with its own connection, which does one thing after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="session")
        self._block: Any = None
        self._is_closed = False
        self.pid: int = self.do(lambda: db.rows("SELECT pg_backend_pid()")[0][0])

    def start(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """Let the session do something; its result comes later."""
        return self._thread.submit(function, *args, **kwargs)

    def do(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Let the session do something and return what it returns."""
        return self.start(function, *args, **kwargs).result(SECONDS)

    def begin(self) -> None:
        """Open a transaction that stays open."""
        self._block = db.atomic()
        self.do(self._block.__enter__)

    def commit(self) -> None:
        """Commit the open transaction."""
        block, self._block = self._block, None
        self.do(block.__exit__, None, None, None)

    def rollback(self) -> None:
        """Roll the open transaction back."""
        block, self._block = self._block, None
        with contextlib.suppress(_RollBack):
            self.do(block.__exit__, _RollBack, _RollBack(), None)

    def waits_for_a_lock(self) -> bool:
        """Say whether what the session does waits for another transaction."""
        found = db.rows(WAITS, [self.pid])
        return bool(found and found[0][0])

    def start_and_block(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        """Let the session do something that must wait for another transaction, and return once it waits."""
        future = self.start(function, *args, **kwargs)
        eventually(lambda: future.done() or self.waits_for_a_lock(), "the session waits for a lock", seconds=SECONDS)
        assert not future.done(), "this should have waited for the other transaction"
        return future

    def close(self) -> None:
        """End the session, whatever it waits for."""
        if self._is_closed:
            return
        self._is_closed = True
        db.rows("SELECT pg_terminate_backend(%s)", [self.pid])
        if self._block is not None:
            self._thread.submit(_give_up, self._block)
        self._thread.submit(connections.close_all)
        self._thread.shutdown()


class _RollBack(Exception):
    """Not an error: how a transaction block is left."""


def _give_up(block: Any) -> None:
    with contextlib.suppress(Exception):
        block.__exit__(_RollBack, _RollBack(), None)


@contextlib.contextmanager
def sessions() -> Iterator[Callable[[], Session]]:
    """Make sessions, and end them all."""
    made: list[Session] = []

    def make() -> Session:
        made.append(Session())
        return made[-1]

    try:
        yield make
    finally:
        for session in made:
            session.close()
