"""Connections: whose they are, how a worker's is tuned, and what ends a wait."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from django_workflow.conf import conf

T = TypeVar("T")


def connection() -> BaseDatabaseWrapper:
    """Return this thread's connection to the workflow database."""
    wrapper = _worker.wrapper  # Django looks for it in a context, and a settle asks some twenty times
    return wrapper if wrapper is not None and wrapper.alias == conf.DATABASE else connections[conf.DATABASE]


def close() -> None:
    """Close this thread's connection, if it has one, whatever is open on it."""
    wrapper = connection()
    wrapper.close()
    if wrapper.in_atomic_block:
        # closed inside a block, Django's wrapper refuses every further use: the next one is new
        del connections[conf.DATABASE]
        if _worker.is_worker:
            _worker.wrapper = connections[conf.DATABASE]
            leave_pool(_worker.wrapper)


def leave_pool(wrapper: BaseDatabaseWrapper) -> None:
    """Let a connection be none of a pool from now on.

    Whoever uses up the pool must not keep a worker from its heartbeat, nor a caller from what it waits for; and what is
    set for a worker's session must not go back to the pool with it.
    """
    settings = wrapper.settings_dict
    if settings["OPTIONS"].get("pool"):
        wrapper.close()
        options = {name: value for name, value in settings["OPTIONS"].items() if name != "pool"}
        wrapper.settings_dict = settings | {"OPTIONS": options}


def on_own_connection(function: Callable[[], T]) -> T:
    """Run `function` on a short connection of its own, outside the caller's transaction.

    Django's connections belong to threads, so this is a thread that closes what it opened.
    Returns what the function returns and raises what it raises.
    """
    answer: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            leave_pool(connection())
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
    """Whether this thread's connection serves a worker, how it plans, and which connection was set up for it."""

    is_worker = False
    is_by_index = False
    set_up: Any = None
    wrapper: BaseDatabaseWrapper | None = None


_worker = _Worker()

# The engine's statements touch rows by key. Statistics lag behind tables that grow by thousands of
# rows a second, and a plan that scans or hashes a hot table was seen to take 160 ms instead of 3.
TUNING = """
    SET jit = off; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET plan_cache_mode = force_generic_plan
"""


# Others' sessions have what the site, the role or the database gives them; locks, timeouts and isolation levels that
# are meant for requests would refuse a worker what nobody else will do. But a worker that is frozen or vanishes in the
# middle of a transaction would keep its rows locked for as long as the session lives: PostgreSQL ends that.
WORKER_SESSION = """
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
    SET default_transaction_deferrable = off; SET statement_timeout = 0; SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = '30s'
"""
#: Since PostgreSQL 17.
NO_TRANSACTION_TIMEOUT = "SET transaction_timeout = 0"


def serve_worker(*, by_index: bool = False) -> None:
    """Let this thread's connection serve a worker from now on, whatever settings the role or the database has.

    by_index: it plans its statements by index.
    """
    _worker.wrapper = connections[conf.DATABASE]
    leave_pool(_worker.wrapper)
    _worker.is_worker, _worker.is_by_index, _worker.set_up = True, by_index, None


def end_worker() -> None:
    """Let this thread's connection, which is closed, be that of whoever goes on in the thread, as it was before."""
    _worker.is_worker, _worker.is_by_index, _worker.set_up, _worker.wrapper = False, False, None, None
    del connections[conf.DATABASE]


def set_up_for_worker(wrapper: BaseDatabaseWrapper) -> bool:
    """Open the connection; set it up once where this thread serves a worker, and return whether it does."""
    wrapper.ensure_connection()
    if _worker.is_worker and _worker.set_up is not wrapper.connection:
        if has_own_session(wrapper):
            with wrapper.wrap_database_errors:
                psycopg.ClientCursor(wrapper.connection).execute(_set_up(wrapper.connection))
        _worker.set_up = wrapper.connection
    return _worker.is_worker


def _set_up(session: psycopg.Connection[Any]) -> str:
    scripts = [WORKER_SESSION]
    if session.info.server_version >= 170_000:
        scripts.append(NO_TRANSACTION_TIMEOUT)
    if _worker.is_by_index:
        scripts.append(TUNING)
    return ";".join(scripts)


def is_read_committed(wrapper: BaseDatabaseWrapper) -> bool:
    """Say whether transactions of this connection are READ COMMITTED without being told so."""
    return _worker.is_worker and has_own_session(wrapper)


@contextmanager
def read_committed(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Let the transaction that begins in the block be READ COMMITTED, whatever is the default here.

    What is read after a lock must be younger than it; other isolation levels read what was there before.
    """
    session: psycopg.Connection[Any] = wrapper.connection
    before = session.isolation_level
    session.isolation_level = IsolationLevel.READ_COMMITTED
    try:
        yield
    finally:
        if session.info.transaction_status == TransactionStatus.IDLE:
            session.isolation_level = before


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
