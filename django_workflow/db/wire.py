"""Statements on the wire: prepared once per session, their parameters texts, sent by libpq.

Each statement of the engine stands in a round of claims and settles, and on an idle system a cursor of psycopg
adds a quarter of a millisecond to each: it looks for the types of parameters and for a plan, which here are known
beforehand. Whatever is out of the ordinary is left to Django's cursors.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import IsolationLevel, pq
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.generators import execute
from psycopg.types.datetime import TimestamptzLoader

from django_workflow import times
from django_workflow.db.sessions import has_own_session

Row = tuple[Any, ...]
Result = pq.abc.PGresult

#: Most statements a session keeps prepared; the one prepared first makes room for another.
MOST = 300
#: A statement that takes longer, in seconds, may have been planned when its tables were small.
SLOW = 0.015
#: Seconds between two times at which a session plans its statements anew: they double up to the second number.
REPLANS = (0.5, 60.0)
IDLE = pq.TransactionStatus.IDLE
PIPELINE_OFF = pq.PipelineStatus.OFF
BEGIN: dict[IsolationLevel | None, bytes] = {None: b"BEGIN"}
BEGIN |= {level: f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode() for level in IsolationLevel}
FAILED = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.NONFATAL_ERROR, pq.ExecStatus.BAD_RESPONSE)


class Session:
    """One connection's prepared statements, and how to read its answers.

    is_plain: statements may be sent past psycopg's cursors, for a transaction begins with no more than its level.
    prepares: statements stay prepared. Not behind a pooler that shares sessions; Django asks such sites to set
    DISABLE_SERVER_SIDE_CURSORS, and that tells it here, too. Nor where psycopg prepares by itself: after a rollback
    it deallocates everybody's.
    """

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        connection = wrapper.connection
        self.is_plain = connection.read_only is connection.deferrable is None
        self.prepares = has_own_session(wrapper) and connection.prepare_threshold is None
        # the adapters only: a transformer of the connection would keep it alive
        self._reader = Transformer(_adapters(connection))
        self._names: dict[str, bytes] = {}
        self._count = 0
        self._is_outgrown = False
        self._replanned_at, self._pause = 0.0, REPLANS[0]

    def execute_by_plan(self, connection: psycopg.Connection[Any], sql: str, params: Sequence[str | None]) -> Result:
        """Execute one statement of a session that keeps its plans, and drop these where they may be outgrown.

        A plan that was made for a table with few rows reads all of it. The server keeps it while the table grows, up to
        its next ANALYZE: a minute in which a settle can take a hundred times as long.
        """
        if self._is_outgrown:
            self._is_outgrown = False
            connection.pgconn.send_query(b"DISCARD PLANS")
            _answer(connection)
        began = time.monotonic()
        result = self.execute(connection, sql, params)
        now = time.monotonic()
        if now - began > SLOW and now - self._replanned_at > self._pause:
            is_first = now - self._replanned_at > 2 * REPLANS[1]
            self._pause = REPLANS[0] if is_first else min(2 * self._pause, REPLANS[1])
            self._is_outgrown, self._replanned_at = True, now
        return result

    def execute(self, connection: psycopg.Connection[Any], sql: str, params: Sequence[str | None]) -> Result:
        """Execute one statement; raises psycopg's errors."""
        pgconn = connection.pgconn
        if not connection.autocommit and pgconn.transaction_status == IDLE:
            pgconn.send_query(BEGIN[connection.isolation_level])
            _answer(connection)
        texts = [None if param is None else param.encode() for param in params]
        if b"\0" in b"".join(filter(None, texts)):
            # libpq would take it for the text's end
            raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        if not self.prepares:
            pgconn.send_query_params(numbered(sql), texts)
            return _answer(connection)
        try:
            pgconn.send_query_prepared(self._names.get(sql) or self._prepare(connection, sql), texts)
            return _answer(connection)
        except InvalidSqlStatementName:
            # somebody deallocated it; within a transaction, which has failed by this, the next one prepares anew
            self._names.clear()
            if pgconn.transaction_status != IDLE:
                raise
            pgconn.send_query_prepared(self._prepare(connection, sql), texts)
            return _answer(connection)

    def rows(self, result: Result) -> list[Row]:
        """Return the rows of an answer."""
        self._reader.set_pgresult(result)
        found: list[Row] = self._reader.load_rows(0, result.ntuples, tuple)
        return found

    def _prepare(self, connection: psycopg.Connection[Any], sql: str) -> bytes:
        if len(self._names) >= MOST:
            oldest = next(iter(self._names))
            connection.pgconn.send_query(b"DEALLOCATE " + self._names.pop(oldest))
            _answer(connection)
        self._count += 1
        name = b"django_workflow_%d" % self._count
        connection.pgconn.send_prepare(name, numbered(sql))
        _answer(connection)
        self._names[sql] = name
        return name


class _NaiveLoader(TimestamptzLoader):
    """Reads a time as a site has it that has none with time zones; without a connection psycopg reads them in UTC."""

    def load(self, data: Buffer) -> datetime:
        return times.of_site(super().load(data))


def _adapters(connection: psycopg.Connection[Any]) -> AdaptersMap:
    """Return how values of a connection are read."""
    if settings.USE_TZ:
        return connection.adapters
    adapters = AdaptersMap(connection.adapters)
    adapters.register_loader("timestamptz", _NaiveLoader)
    return adapters


class _Latest(threading.local):
    """The connection this thread used last."""

    connection: Any = None
    session: Any = None


# sessions belong to connections, not to Django's wrappers: a pool lends one to many of these
_sessions: WeakKeyDictionary[psycopg.Connection[Any], Session] = WeakKeyDictionary()
_latest = _Latest()


def session(wrapper: BaseDatabaseWrapper) -> Session | None:
    """Return the session of an open connection; None where statements have to go through psycopg's cursors."""
    connection = wrapper.connection
    if _latest.connection is not connection:
        if connection not in _sessions:
            _sessions[connection] = Session(wrapper)
        _latest.connection, _latest.session = connection, _sessions[connection]
    found: Session = _latest.session
    return found if found.is_plain and connection.pgconn.pipeline_status == PIPELINE_OFF else None


@functools.lru_cache(maxsize=1000)
def numbered(sql: str) -> bytes:
    """Return a statement with the server's numbered placeholders."""
    first, *rest = sql.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(rest, start=1))
    return text.replace("%%", "%").encode()


def _answer(connection: psycopg.Connection[Any]) -> Result:
    result = connection.wait(execute(connection.pgconn))[-1]
    if result.status in FAILED:
        raise error_from_result(result)
    return result
