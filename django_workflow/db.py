"""The only module that opens a cursor: statements, transactions, locks, notifications, drawn ids."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import DatabaseError, InterfaceError, OperationalError

from django_workflow.conf import conf

T = TypeVar("T")
Row = tuple[Any, ...]

#: SQLSTATE classes after which the same statements may simply be tried again.
RETRYABLE_STATES = ("08", "40", "53", "57P")
LOCK_NOT_AVAILABLE = "55P03"


def connection() -> BaseDatabaseWrapper:
    """Return this thread's connection to the workflow database."""
    return connections[conf.DATABASE]


def rows(sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """Execute one statement and return its rows; lists among `params` are passed as arrays, cast in the SQL."""
    found: list[Row] = _run(sql, params).fetchall()
    return found


def execute(sql: str, params: Sequence[Any] = ()) -> None:
    """Execute one statement whose result does not matter; within `pipelined` nobody waits for it."""
    _run(sql, params)


def _run(sql: str, params: Sequence[Any]) -> Any:
    """Execute one statement and return its cursor."""
    wrapper = connection()
    values = [array(item) if isinstance(item, list) else item for item in params]
    if not _worker.is_worker and (wrapper.queries_logged or wrapper.execute_wrappers):
        # tests that count queries and tools that trace them see Django's cursors
        cursor = wrapper.cursor()
        cursor.execute(sql, values)
        return cursor
    wrapper.ensure_connection()
    wrapper.validate_no_broken_transaction()
    if _worker.is_worker and _worker.tuned is not wrapper.connection:
        _tune(wrapper)
    return _Cursor(wrapper, sql, values)


class _Cursor:
    """A cursor that binds on the server and prepares its statements; errors are Django's.

    Behind a pooler that shares sessions nothing is prepared; Django asks such sites to set
    DISABLE_SERVER_SIDE_CURSORS, and that tells it here, too.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper, sql: str, values: Sequence[Any]) -> None:
        self._wrapper = wrapper
        connection = wrapper.connection
        before = connection.prepare_threshold
        connection.prepare_threshold = 0 if has_own_session(wrapper) else None
        try:
            self._cursor = psycopg.Cursor(connection)
            with wrapper.wrap_database_errors:
                self._cursor.execute(sql, values)
        finally:
            connection.prepare_threshold = before

    def fetchall(self) -> list[Row]:
        with self._wrapper.wrap_database_errors:
            return self._cursor.fetchall()


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


def _tune(wrapper: BaseDatabaseWrapper) -> None:
    _worker.tuned = wrapper.connection
    if has_own_session(wrapper):
        with wrapper.wrap_database_errors:
            psycopg.ClientCursor(wrapper.connection).execute(TUNING)


def array(values: list[Any]) -> str:
    """Return a PostgreSQL array literal of numbers, texts, ids, times and None.

    psycopg adapts lists element by element in Python; for the engine's columns of a few hundred
    plain values this is three times as fast, and a settle passes twenty of them.
    """
    parts = []
    for value in values:
        kind = type(value)
        if kind is int:
            parts.append(str(value))
        elif value is None:
            parts.append("NULL")
        elif kind is str:
            needs_escape = "\\" in value or '"' in value
            text = value.replace("\\", "\\\\").replace('"', '\\"') if needs_escape else value
            parts.append(f'"{text}"')
        else:
            parts.append(f'"{value}"')
    return "{" + ",".join(parts) + "}"


@contextmanager
def pipelined() -> Iterator[None]:
    """Send the statements of the block one after the other without waiting for each answer.

    `rows` waits for its own answer and for those before it; an error surfaces there, or at the end
    of the block. A settle that writes ten sets so costs three round trips, not twelve.
    """
    wrapper = connection()
    wrapper.ensure_connection()
    with wrapper.wrap_database_errors, wrapper.connection.pipeline():
        yield


def run_script(sql: str) -> None:
    """Execute several statements without parameters, as one script."""
    with connection().cursor() as cursor:
        cursor.execute(sql)


def atomic() -> transaction.Atomic:
    """Return the transaction in which a verb does all it does."""
    return transaction.atomic(using=conf.DATABASE)


def in_transaction() -> bool:
    """Say whether the caller has a transaction open on the workflow database."""
    return connection().in_atomic_block


def in_test_transaction() -> bool:
    """Say whether everything here is rolled back at the end of a test (`django.test.TestCase`)."""
    blocks = connection().atomic_blocks
    return bool(blocks) and getattr(blocks[0], "_from_testcase", False)


def after_commit(function: Callable[[], Any]) -> None:
    """Call `function` once the caller's transaction has committed, at once where none is open."""
    transaction.on_commit(function, using=conf.DATABASE)


@contextmanager
def lock_timeout(milliseconds: int) -> Iterator[None]:
    """Wait for locks at most so long within the current transaction block."""
    previous = rows(
        "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"]
    )
    yield
    # after an error the transaction is over and with it the local setting
    rows("SELECT set_config('lock_timeout', %s, true)", [previous[0][0]])


def without_waiting_for_flush() -> None:
    """Let the current transaction commit without waiting for the disk; only what may be lost does so."""
    rows("SELECT set_config('synchronous_commit', 'off', true)")


NOTIFY = """
    SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, payload)
    FROM unnest(%s::text[], %s::text[]) AS n(channel, payload)
"""


def notify(notifications: Sequence[tuple[str, str]]) -> None:
    """Send notifications in one asynchronous transaction of their own.

    notifications: pairs of channel and payload, at most 8,000 bytes each.
    PostgreSQL serialises notifying commits over the whole cluster through the flush, so this never
    runs inside a durable transaction. A lost notification costs latency, never truth.
    """
    if notifications:
        rows(NOTIFY, [[channel for channel, _ in notifications], [payload for _, payload in notifications]])


def is_retryable(error: BaseException) -> bool:
    """Say whether `error` is of the connection, a deadlock or a serialisation, not of the data."""
    if isinstance(error, InterfaceError):
        return True
    state = sqlstate(error)
    if state is None:
        # psycopg reports a broken connection without a state
        return isinstance(error, OperationalError)
    return state.startswith(RETRYABLE_STATES)


def is_lock_timeout(error: BaseException) -> bool:
    """Say whether `error` means that a lock was not available in time."""
    return sqlstate(error) == LOCK_NOT_AVAILABLE


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code for a database error, where it gave one."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return state


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


class _IdBlocks:
    """Ids drawn from sequences in blocks, so that a small batch costs no round trip for its ids."""

    def __init__(self) -> None:
        self.of_thread = threading.local()
        self.generation = 0

    def spare(self, table: str) -> list[int]:
        """Return this thread's spare ids of a table; those of an earlier generation are forgotten."""
        if getattr(self.of_thread, "generation", None) != self.generation:
            self.of_thread.generation = self.generation
            self.of_thread.tables = defaultdict(list)
        spare: list[int] = self.of_thread.tables[conf.DATABASE, table]
        return spare


_blocks = _IdBlocks()
BLOCK = 100
DRAW = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"


def draw_ids(table: str, count: int) -> list[int]:
    """Return `count` fresh ids of `table`, ascending within one drawn block."""
    spare = _blocks.spare(table)
    if len(spare) < count:
        spare.extend(row[0] for row in rows(DRAW, [table, max(BLOCK, count)]))
    drawn, spare[:] = spare[:count], spare[count:]
    return drawn


def forget_drawn_ids() -> None:
    """Throw spare ids away: a reset sequence would hand them out again."""
    _blocks.generation += 1


def allows_migrate(app_label: str, using: str) -> bool:
    """Say whether the site's routers put `app_label` on the database `using`."""
    return router.allow_migrate(using, app_label)


class Listener:
    """A connection of its own that listens on channels."""

    def __init__(self, channels: Sequence[str]) -> None:
        alias = conf.LISTEN_DATABASE or conf.DATABASE
        self._wrapper = connections.create_connection(alias)
        self._wrapper.ensure_connection()
        with self._wrapper.cursor() as cursor:
            for channel in channels:
                cursor.execute(f'LISTEN "{channel}"')

    def notifications(self, timeout: float) -> list[tuple[str, str]]:
        """Return the notifications that arrive within `timeout` seconds: all that came with the first."""
        found = self._wrapper.connection.notifies(timeout=timeout, stop_after=1)
        return [(item.channel, item.payload) for item in found]

    def wait_for(self, payload: str, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a notification with this payload."""
        deadline = time.monotonic() + timeout
        while (remaining := deadline - time.monotonic()) > 0:
            if any(told == payload for _, told in self.notifications(remaining)):
                return True
        return False

    def close(self) -> None:
        """Close the connection."""
        self._wrapper.close()


@contextmanager
def listen(channels: Sequence[str]) -> Iterator[Listener]:
    """Listen on `channels` over a connection of its own until the block ends."""
    listener = Listener(channels)
    try:
        yield listener
    finally:
        listener.close()
