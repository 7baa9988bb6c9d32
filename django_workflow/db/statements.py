"""Statements: one at a time, or several that take effect together."""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import transaction
from psycopg.pq import TransactionStatus

from django_workflow.conf import conf
from django_workflow.db import wire
from django_workflow.db.arrays import array
from django_workflow.db.errors import is_retryable
from django_workflow.db.scope import scoped
from django_workflow.db.sessions import connection, is_read_committed, read_committed, set_up_for_worker
from django_workflow.db.wire import Row

logger = logging.getLogger("django_workflow")

Statement = tuple[str, Sequence[Any]]


def rows(sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """Execute one statement and return its rows; lists among `params` are passed as arrays, cast in the SQL."""
    if _block.current is not None:
        _block.current.send()
    return _run(sql, params, reads=True)


def execute(sql: str, params: Sequence[Any] = ()) -> None:
    """Execute one statement whose result does not matter; within `together` it may be sent later."""
    if _block.current is not None:
        _block.current.add(sql, params)
    else:
        _run(sql, params, reads=False)


@contextmanager
def together() -> Iterator[None]:
    """Let the statements of the block take effect together or not at all.

    Consecutive `execute`s are sent as one statement with a CTE for each: a settle that writes eight
    sets costs one round trip and one plan for them, and a block that only writes needs no
    transaction around it. They all see the state before the first of them, so they must not depend
    on each other; `rows` sends what is pending before it reads. What comes to many rows is sent in
    several statements, so that none of them takes long.
    """
    if _block.current is not None:
        yield
        return
    block = _block.current = _Block()
    try:
        with block.run():
            yield
    finally:
        _block.current = None
    # outside of the block: a notification is no part of what takes effect together
    notify_after_commit(block.notifications)
    for function, is_for_tests in block.afterwards:
        after_commit(function, is_for_tests=is_for_tests)


#: Rows that are sent with one statement, as far as its parts allow.
MOST_ROWS = 4_000


class _Block:
    """What `together` collects, and the transaction it opens once more than one statement is sent."""

    def __init__(self) -> None:
        self.pending: list[Statement] = []
        self._rows = 0
        self.notifications: list[tuple[str, str]] = []
        self.afterwards: list[tuple[Callable[[], Any], bool]] = []
        self._has_begun = False
        self._stack = ExitStack()

    @contextmanager
    def run(self) -> Iterator[None]:
        """Hold what the block executes, and send it at its end."""
        with ExitStack() as self._stack:
            yield
            if connection().in_atomic_block:
                self._begin()  # at least a savepoint: what is refused must not end the caller's transaction
            self._flush()

    def add(self, sql: str, params: Sequence[Any]) -> None:
        """Keep a statement for later; those before it are sent now where they would come to many rows together."""
        count = 1
        for value in params:
            if type(value) is list and len(value) > count:
                count = len(value)
        if self.pending and self._rows + count > MOST_ROWS:
            self.send()
        self.pending.append((sql, params))
        self._rows += count

    def send(self) -> None:
        """Send what is pending, because something is about to be read, or more than enough is pending."""
        self._begin()
        self._flush()

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._stack.enter_context(atomic())

    def _flush(self) -> None:
        pending, self.pending, self._rows = self.pending, [], 0
        if pending:
            _run(*combined(pending), reads=False)


class _Current(threading.local):
    current: _Block | None = None


_block = _Current()


def combined(statements: Sequence[Statement]) -> Statement:
    """Return one statement that does what all of `statements` do."""
    if len(statements) == 1:
        return statements[0]
    return _combined(tuple(sql for sql, _ in statements)), [value for _, params in statements for value in params]


@functools.lru_cache(maxsize=500)
def _combined(texts: tuple[str, ...]) -> str:
    parts = [f"part_{number} AS MATERIALIZED ({sql})" for number, sql in enumerate(texts)]
    # a SELECT is executed only as far as somebody reads it
    read = [
        f"(SELECT count(*) FROM part_{number})"  # noqa: S608  numbered here
        for number, sql in enumerate(texts)
        if sql.lstrip()[:6].upper() == "SELECT"
    ]
    return " ".join(["WITH", ", ".join(parts), "SELECT", ", ".join(read) or "1"])


#: A set passed column by column, and its rows' numbers.
UNNEST = re.compile(r"unnest\((%s::\w+\[\](?:,\s*%s::\w+\[\])*)\)(\s+WITH ORDINALITY)?")
#: Sets of at most so many rows are passed as values.
FEW = 2


def as_values(sql: str, params: Sequence[Any]) -> Statement:
    """Return the statement with its sets written as VALUES where each has but one row or two.

    The planner knows nothing of an array that is still to come: it plans such a statement anew at each
    execution, which takes longer than a single start. With VALUES it keeps one plan.
    """
    sets = _sets(sql)
    if not sets:
        return sql, params
    counts = tuple([len(params[first]) if isinstance(params[first], list) else 0 for first, _ in sets])
    if max(counts) > FEW or not min(counts):
        return sql, params
    values: list[Any] = []
    end = 0
    for (first, width), count in zip(sets, counts, strict=True):
        values += params[end:first]
        end = first + width
        for row in range(count):
            values += [column[row] for column in params[first:end]]
    values += params[end:]
    return _written_as_values(sql, counts), values


@functools.lru_cache(maxsize=500)
def _sets(sql: str) -> list[tuple[int, int]]:
    """Return where each set's parameters begin in the statement, and how many they are."""
    return [(sql.count("%s", 0, found.start()), found[1].count("%s")) for found in UNNEST.finditer(sql)]


@functools.lru_cache(maxsize=500)
def _written_as_values(sql: str, counts: Sequence[int]) -> str:
    left = iter(counts)

    def values(found: re.Match[str]) -> str:
        row = found[1].replace("[]", "")
        rows = [f"({row}, {place}::bigint)" if found[2] else f"({row})" for place in range(1, next(left) + 1)]
        return f"(VALUES {', '.join(rows)})"

    return UNNEST.sub(values, sql)


def _text(value: Any) -> str | None:
    """Return a parameter as the text that PostgreSQL reads; the statement says its type."""
    if isinstance(value, list):
        return array(value)
    if isinstance(value, str):
        return str.__str__(value)
    return None if value is None else str(value)


def _run(sql: str, params: Sequence[Any], *, reads: bool) -> list[Row]:
    """Execute one statement and return its rows, if they are wanted."""
    wrapper = connection()
    is_worker = set_up_for_worker(wrapper)
    if not is_worker:
        sql, params = as_values(sql, params)
    values = [value if type(value) is str else _text(value) for value in params]
    wrapper.validate_no_broken_transaction()
    # tests that count queries and tools that trace them see Django's cursors
    is_watched = not is_worker and (wrapper.queries_logged or wrapper.execute_wrappers)
    session = None if is_watched else wire.session(wrapper)
    if session is None:
        with wrapper.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if reads else []
    with wrapper.wrap_database_errors:
        execute = session.execute_by_plan if is_worker else session.execute
        result = execute(wrapper.connection, sql, values)
        return session.rows(result) if reads else []


def run_script(sql: str) -> None:
    """Execute several statements without parameters, as one script."""
    with connection().cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def atomic() -> Iterator[None]:
    """Let a verb do all it does in one transaction: the caller's, or one of its own, which is READ COMMITTED."""
    wrapper = connection()
    if not wrapper.in_atomic_block:
        set_up_for_worker(wrapper)
        if not is_read_committed(wrapper) and wrapper.get_autocommit():
            with read_committed(wrapper), transaction.atomic(using=conf.DATABASE):
                yield
            return
    with transaction.atomic(using=conf.DATABASE):
        yield


def in_transaction() -> bool:
    """Say whether the caller has a transaction open on the workflow database, or commits by hand."""
    return connection().in_atomic_block or _commits_by_hand()


def _commits_by_hand() -> bool:
    wrapper = connection()
    if wrapper.connection is None:
        return not wrapper.settings_dict["AUTOCOMMIT"]
    return not wrapper.get_autocommit()


HAS_WRITTEN = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"


def has_written() -> bool:
    """Say whether the caller is in a transaction that has written: others see no later one before its end."""
    return in_transaction() and bool(rows(HAS_WRITTEN)[0][0])


def has_failed() -> bool:
    """Say whether the caller has a transaction open in which PostgreSQL accepts no more statements."""
    wrapper = connection()
    if not wrapper.in_atomic_block or wrapper.connection is None:
        return False
    return wrapper.needs_rollback or wrapper.connection.info.transaction_status == TransactionStatus.INERROR


def in_test_transaction() -> bool:
    """Say whether everything here is rolled back at the end of a test (`django.test.TestCase`)."""
    blocks = connection().atomic_blocks
    return bool(blocks) and getattr(blocks[0], "_from_testcase", False)


def after_commit(function: Callable[[], Any], *, is_for_tests: bool = False) -> None:
    """Call `function` once the caller's transaction, or block of `together`, has committed; at once where none is open.

    Never where the caller commits by hand: nobody learns of that, so it must be something that may be lost.
    is_for_tests: at once, too, in the transaction of a test, which never commits.
    """
    if _block.current is not None:
        _block.current.afterwards.append((function, is_for_tests))
    elif is_for_tests and in_test_transaction():
        function()
    elif connection().in_atomic_block or not _commits_by_hand():
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


#: Writes a little of its own: a transaction that wrote nothing waits for no flush.
FLUSH = "SELECT pg_logical_emit_message(true, 'django_workflow', '')"


def flush() -> None:
    """Wait until the disk has what was committed without waiting for it; outside a transaction."""
    rows(FLUSH)


NOTIFY_ONE = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"
NOTIFY = """
    SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, payload)
    FROM unnest(%s::text[], %s::text[]) AS n(channel, payload)
"""


def notify(notifications: Sequence[tuple[str, str]]) -> None:
    """Send notifications in one asynchronous transaction of their own.

    notifications: pairs of channel and payload, at most 8,000 bytes each.
    PostgreSQL serialises notifying commits over the whole cluster through the flush, so this never
    runs inside a durable transaction, nor in one flight with it: sent behind the commit without waiting
    for its answer it cost eight concurrent callers a fifth of their rate. A lost notification costs
    latency, never truth: one that cannot be sent now is no error of what has committed before it.
    """
    try:
        if notifications:
            _notify(notifications)
    except Exception as error:
        if not is_retryable(error):
            raise
        logger.warning(
            "%d notifications were not sent; who waits for them looks by itself: %s", len(notifications), error
        )


def _notify(notifications: Sequence[tuple[str, str]]) -> None:
    if len(notifications) == 1:
        channel, payload = notifications[0]
        rows(NOTIFY_ONE, [scoped(channel), payload])
    else:
        own = {channel: scoped(channel) for channel in {channel for channel, _ in notifications}}
        rows(NOTIFY, [[own[channel] for channel, _ in notifications], [payload for _, payload in notifications]])


def notify_after_commit(notifications: Sequence[tuple[str, str]]) -> None:
    """Send notifications as `notify` does, once what the caller is doing has committed."""
    if _block.current is not None:
        _block.current.notifications += notifications
    elif in_transaction():
        after_commit(lambda: notify(notifications))
    else:
        notify(notifications)
