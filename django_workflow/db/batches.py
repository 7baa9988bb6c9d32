"""Statements in order, and batches: writes that take effect together, sent as few statements."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import transaction

from django_workflow.conf import conf
from django_workflow.db.columns import Columns
from django_workflow.db.errors import is_retryable
from django_workflow.db.scope import scoped
from django_workflow.db.sessions import connection
from django_workflow.db.statements import atomic, commits_by_hand, in_test_transaction, in_transaction, run
from django_workflow.db.wire import Row

logger = logging.getLogger("django_workflow")

Statement = tuple[str, Sequence[Any]]


def rows(sql: str, params: Sequence[Any] = ()) -> list[Row]:
    """Execute one statement now and return its rows; lists among `params` are passed as arrays, cast in the SQL.

    It sees what was added to the batch before it.
    """
    if _open.batch is not None:
        _open.batch.send()
    return run(sql, params, reads=True)


def execute(sql: str, params: Sequence[Any] = ()) -> None:
    """Execute one statement now whose result does not matter; it sees what was added to the batch before it."""
    if _open.batch is not None:
        _open.batch.send()
    run(sql, params, reads=False)


def add(sql: str, params: Sequence[Any] = ()) -> None:
    """Add a write to the open batch: it is made later, in no order with those beside it, and sees none of them.

    Without a batch it is executed now.
    """
    if _open.batch is not None:
        _open.batch.add(sql, params)
    else:
        run(sql, params, reads=False)


def then(sql: str, params: Sequence[Any] = ()) -> None:
    """Add a write to the open batch that sees all that was added before it; without a batch it is executed now."""
    if _open.batch is not None:
        _open.batch.send()
    add(sql, params)


@contextmanager
def batch() -> Iterator[None]:
    """Let the statements of the block take effect together or not at all.

    What was added since the last read is sent as one statement with a CTE for each: a settle that writes eight
    sets costs one round trip and one plan for them, and a block that only adds needs no transaction around
    it. Within such a statement all see the state before the first: what depends on another is added with `then`.
    What comes to many rows is sent in several statements, so that none of them takes long.
    A block within another one is a part of that.
    """
    if _open.batch is not None:
        yield
        return
    own = _open.batch = _Batch()
    try:
        with own.run():
            yield
    finally:
        _open.batch = None
    # outside of the block: a notification is no part of what takes effect together
    notify_after_commit(own.notifications)
    for function, is_for_tests in own.afterwards:
        after_commit(function, is_for_tests=is_for_tests)


#: Rows that are sent with one statement, as far as its parts allow.
MOST_ROWS = 4_000


class _Batch:
    """What is added and not sent yet, and the transaction that begins once more than one statement is sent."""

    def __init__(self) -> None:
        self.pending: list[Statement] = []
        self._rows = 0
        self.notifications: list[tuple[str, str]] = []
        self.afterwards: list[tuple[Callable[[], Any], bool]] = []
        self._has_begun = False
        self._stack = ExitStack()

    @contextmanager
    def run(self) -> Iterator[None]:
        """Hold what is added, and send it at the end of the block."""
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
        """Send what is pending: something that comes now sees it, or more than enough is pending."""
        self._begin()
        self._flush()

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._stack.enter_context(atomic())

    def _flush(self) -> None:
        pending, self.pending, self._rows = self.pending, [], 0
        if pending:
            run(*combined(pending), reads=False)


class _Open(threading.local):
    """The batch that is open in this thread."""

    batch: _Batch | None = None


_open = _Open()


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


def after_commit(function: Callable[[], Any], *, is_for_tests: bool = False) -> None:
    """Call `function` once the caller's transaction, or the open batch, has committed; at once where none is open.

    Never where the caller commits by hand: nobody learns of that, so it must be something that may be lost.
    is_for_tests: at once, too, in the transaction of a test, which never commits.
    """
    if _open.batch is not None:
        _open.batch.afterwards.append((function, is_for_tests))
    elif is_for_tests and in_test_transaction():
        function()
    elif connection().in_atomic_block or not commits_by_hand():
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


HAS_WRITTEN = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"


def has_written() -> bool:
    """Say whether the caller is in a transaction that has written: others see no later one before its end."""
    return in_transaction() and bool(rows(HAS_WRITTEN)[0][0])


def without_waiting_for_flush() -> None:
    """Let the current transaction commit without waiting for the disk; only what may be lost does so."""
    rows("SELECT set_config('synchronous_commit', 'off', true)")


#: Writes a little of its own: a transaction that wrote nothing waits for no flush.
FLUSH = "SELECT pg_logical_emit_message(true, 'django_workflow', '')"


def flush() -> None:
    """Wait until the disk has what was committed without waiting for it; outside a transaction."""
    rows(FLUSH)


NOTIFY_ONE = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"
NOTIFICATIONS = Columns("n", channel="text", payload="text")
NOTIFY = f"""
    SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, payload)
    FROM {NOTIFICATIONS}
"""  # noqa: S608  a constant


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
        rows(
            NOTIFY,
            NOTIFICATIONS.lists(
                channel=[own[channel] for channel, _ in notifications],
                payload=[payload for _, payload in notifications],
            ),
        )


def notify_after_commit(notifications: Sequence[tuple[str, str]]) -> None:
    """Send notifications as `notify` does, once what the caller is doing has committed."""
    if _open.batch is not None:
        _open.batch.notifications += notifications
    elif in_transaction():
        after_commit(lambda: notify(notifications))
    else:
        notify(notifications)
