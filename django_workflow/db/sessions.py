"""Connections: whose they are, how a worker's is tuned, and what listens."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from django_workflow.conf import conf

T = TypeVar("T")


def connection() -> BaseDatabaseWrapper:
    """Return this thread's connection to the workflow database."""
    return connections[conf.DATABASE]


def close() -> None:
    """Close this thread's connection, if it has one."""
    connection().close()


def on_own_connection(function: Callable[[], T]) -> T:
    """Run `function` on a short connection of its own, outside the caller's transaction.

    Django's connections belong to threads, so this is a thread that closes what it opened.
    Returns what the function returns and raises what it raises.
    """
    answer: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(function())
        except BaseException as error:
            failure.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work, name="django_workflow-own-connection")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return answer[0]


def allows_migrate(app_label: str, using: str) -> bool:
    """Say whether the site's routers put `app_label` on the database `using`."""
    return router.allow_migrate(using, app_label)


def has_own_session(wrapper: BaseDatabaseWrapper) -> bool:
    """Say whether the connection is a session of its own, not one shared by a pooler between transactions."""
    return not wrapper.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS", False)


class _Worker(threading.local):
    """Whether this thread's connection serves a worker, and which connection was tuned for it."""

    is_worker = False
    tuned: Any = None


_worker = _Worker()

# The engine's statements touch rows by key. Statistics lag behind tables that grow by thousands of
# rows a second, and a plan that scans or hashes a hot table was seen to take 160 ms instead of 3.
TUNING = """
    SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan
"""


def serve_worker() -> None:
    """Let this thread's connection plan its statements by index, from now on."""
    _worker.is_worker = True


def tune_for_worker(wrapper: BaseDatabaseWrapper) -> bool:
    """Tune the connection where this thread serves a worker, once per connection; returns whether it does."""
    if not _worker.is_worker:
        return False
    wrapper.ensure_connection()
    if _worker.tuned is not wrapper.connection:
        _worker.tuned = wrapper.connection
        if has_own_session(wrapper):
            with wrapper.wrap_database_errors:
                psycopg.ClientCursor(wrapper.connection).execute(TUNING)
    return True


class Bell:
    """Ends another thread's wait: whoever waits for a connection waits for this as well."""

    def __init__(self) -> None:
        self._heard, self._rung = socket.socketpair()
        self._heard.setblocking(False)
        self._rung.setblocking(False)

    def ring(self) -> None:
        """End the wait, or the next one where nobody waits now."""
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody will wait
            self._rung.send(b"!")

    def wait(self, timeout: float, *others: int) -> None:
        """Wait up to `timeout` seconds until it rings, or until one of the other files can be read."""
        with selectors.DefaultSelector() as selector:
            for file in (self._heard.fileno(), *others):
                selector.register(file, selectors.EVENT_READ)
            selector.select(timeout)
        with contextlib.suppress(OSError):
            while self._heard.recv(1024):
                pass

    def close(self) -> None:
        """Close it."""
        self._heard.close()
        self._rung.close()


class Listener:
    """A connection of its own that listens on channels, and reads what was told of.

    It is no thread's in particular: whoever shares it lets one use it at a time.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        alias = conf.LISTEN_DATABASE or conf.DATABASE
        self._wrapper = connections.create_connection(alias)
        # never one of a pool: it would go back listening
        settings = self._wrapper.settings_dict
        options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
        self._wrapper.settings_dict = settings | {"OPTIONS": options}
        self._wrapper.inc_thread_sharing()
        self._wrapper.ensure_connection()
        try:
            self.listen(channels)
        except BaseException:
            self.close()
            raise

    def listen(self, channels: Sequence[str]) -> None:
        """Listen on further channels."""
        with self._wrapper.cursor() as cursor:
            for channel in channels:
                cursor.execute(f'LISTEN "{channel}"')

    def notifications(self, timeout: float, bell: Bell | None = None) -> list[tuple[str, str]]:
        """Return the notifications that arrive within `timeout` seconds: all that came with the first.

        bell: ends the wait when it rings.
        """
        with self._wrapper.wrap_database_errors:
            if bell is None:
                return self._received(timeout)
            found = self._received(0.0)
            if found or timeout <= 0:
                return found
            bell.wait(timeout, self._wrapper.connection.fileno())
            return self._received(0.0)

    def _received(self, timeout: float) -> list[tuple[str, str]]:
        found = self._wrapper.connection.notifies(timeout=timeout, stop_after=1)
        return [(item.channel, item.payload) for item in found]

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement on this connection and return its rows; no parameter is a list."""
        with self._wrapper.cursor() as cursor:
            cursor.execute(sql, [None if value is None else str(value) for value in params])
            return cursor.fetchall()

    def wait_for(self, payload: str, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a notification with this payload."""
        deadline = time.monotonic() + timeout
        while (remaining := deadline - time.monotonic()) > 0:
            if any(told == payload for _, told in self.notifications(remaining)):
                return True
        return False

    def close(self) -> None:
        """Close the connection; quick, and allowed in an event loop, too."""
        if self._wrapper.connection is not None:
            self._wrapper.connection.close()


@contextmanager
def listen(channels: Sequence[str]) -> Iterator[Listener]:
    """Listen on `channels` over a connection of its own until the block ends."""
    listener = Listener(channels)
    try:
        yield listener
    finally:
        listener.close()
