"""Following what is written to a table, from a cursor on: nothing lost, nothing twice, whoever commits when.

A number drawn from a sequence says nothing about the order of commits: a row with a lower id may be
committed after one with a higher id was read. So the cursor is the pair (transaction id, id), and rows are
read only below the oldest transaction that is still open: below it nothing can be added any more.
A notification says that there is something to read; what was missed is read after reconnecting, or by
a slow look now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from enum import Enum
from threading import RLock
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from django_workflow import arguments, db
from django_workflow.arguments import LARGEST
from django_workflow.exceptions import InvalidArgument, NotSupported
from django_workflow.text import shown

logger = logging.getLogger("django_workflow.events")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: A place in what is followed: transaction id and row id of what was read last. (0, 0) is before everything.
Cursor = tuple[int, int]
START: Cursor = (0, 0)
#: What is before everything: the transaction ids of a restored database are below zero (`events.renumbering`).
_LOWEST: Cursor = (-(2**63), 0)
Rows = Callable[..., list[tuple[Any, ...]]]

#: Below this transaction id everything has ended: what is committed is visible, and nothing comes any more.
HORIZON = "(SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xid) AS horizon"
#: Rows of one read, and about how many bytes they may have together before the read ends.
BATCH = 500
BATCH_BYTES = 4 * 1024 * 1024

#: Seconds between two looks when nothing is told: a notification may be lost.
POLL = 5.0
#: Seconds until another look at what an older transaction keeps back: they double up to the second number.
NAPS = (0.01, 0.5)
#: Seconds until the next try to connect: they double up to the second number.
RETRIES = (0.05, 5.0)


class Read(Enum):
    """How a read ended: there may be more, an older transaction keeps something back, or that was all."""

    MORE = "more"
    KEPT_BACK = "kept back"
    ALL = "all"


class Source(Protocol[T_co]):
    """What is followed: where it is told of, and how it is read.

    channels: of the notifications. position: the cursor of what was read last, None before `begin`.
    """

    channels: Sequence[str]
    position: Cursor | None

    def begin(self, rows: Rows) -> None:
        """Find out where to begin."""

    def read(self, rows: Rows) -> tuple[Sequence[T_co], Read]:
        """Read on from the position, and move it."""

    def concerns(self, channel: str, notification: str) -> bool:
        """Say whether there may be something to read."""

    def unstored(self, channel: str, notification: str) -> T_co | None:
        """Return what the notification itself delivers, if it does."""

    def waits_for_caller(self, rows: Rows) -> bool:
        """Say whether nothing can arrive before the caller's own transaction ends."""


class Following(Generic[T]):
    """Delivers, one after the other, what is told from a cursor on: an iterator, also an asynchronous one.

    It has a connection of its own, which is closed by `close`, or at the end of `with` or `async with`.
    When the connection breaks, it connects again and goes on where it was.

    Iteration ends after `close`, and where a timeout was given, once nothing has arrived for so long;
    then it may be iterated again. One task or thread iterates at a time; any may close.
    """

    def __init__(self, source: Source[T], timeout: timedelta | float | None) -> None:
        self._source = source
        self._timeout = arguments.patience(timeout, "timeout=")
        self._ready: deque[T] = deque()
        self._cursor: Cursor | None = source.position
        self._bell = db.Bell()
        # held by whoever uses the connection; what its thread is interrupted for, a signal's handler, may close it
        self._lock = RLock()
        self._is_in_use = False
        self._listener: db.Listener | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._has_begun = self._is_closed = self._is_interrupted = False
        self._look_at = 0.0
        self._nap, self._retry = NAPS[0], RETRIES[0]
        if not _is_in_event_loop():
            self._begin_here()

    @property
    def cursor(self) -> Cursor | None:
        """Where to go on after what was delivered so far; None before an asynchronous one has begun."""
        return self._cursor if self._ready else self._source.position

    # iterating

    def __iter__(self) -> Following[T]:
        return self

    def __next__(self) -> T:
        if not self._ready:
            self._fill()
        return self._take(StopIteration)

    def __aiter__(self) -> Following[T]:
        return self

    async def __anext__(self) -> T:
        if not self._ready and not self._is_closed:
            await self._in_thread(self._fill)
        return self._take(StopAsyncIteration)

    def _take(self, end: type[Exception]) -> T:
        try:
            item = self._ready.popleft()
        except IndexError:
            raise end from None
        self._cursor = item.cursor  # type: ignore[attr-defined]  # all that is followed has one
        return item

    # beginning and ending

    def __enter__(self) -> Following[T]:
        self._begin_here()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Following[T]:
        await self._in_thread(self._begin_here)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """End the iteration, whoever waits in it, and close the connection."""
        self._is_closed = True
        self._bell.ring()
        with self._lock:
            if not self._is_in_use:
                self._clean_up()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _clean_up(self) -> None:
        self._ready.clear()
        self._disconnect()
        self._bell.close()

    async def aclose(self) -> None:
        """Async twin of `close`."""
        if not self._is_closed:
            await self._in_thread(self.close)

    def __del__(self) -> None:
        # where nobody closed it; at the interpreter's end much is gone already
        with contextlib.suppress(Exception):
            if not self._is_closed:
                self.close()

    async def _in_thread(self, function: Callable[[], None]) -> None:
        """Call `function` in this object's own thread: waiting there, it takes none from anybody."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="django_workflow-following")
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except asyncio.CancelledError:
            self._is_interrupted = True
            self._bell.ring()
            raise

    # waiting and reading, under the lock

    def _begin_here(self) -> None:
        """Connect for the first time: what is told from now on is delivered."""
        with self._lock:
            if self._has_begun or self._is_closed:
                return
            try:
                self._connect()
            except BaseException:
                self.close()
                raise

    def _fill(self) -> None:
        """Wait until something can be delivered, the timeout is over, or somebody interrupts."""
        with self._lock:
            self._is_in_use, self._is_interrupted = True, False
            try:
                self._wait_until_ready()
            finally:
                self._is_in_use = False
                if self._is_closed:
                    self._clean_up()

    def _wait_until_ready(self) -> None:
        ends_at = self._idle_until()
        is_refused = False
        while not (self._ready or self._is_closed or self._is_interrupted):
            is_over = time.monotonic() >= ends_at
            read = self._hear_and_read(ends_at, is_last=is_over)
            if read is Read.MORE:
                ends_at = self._idle_until()  # what was read was of no interest here; there is more
            elif is_over:
                return
            elif not (self._ready or is_refused):
                is_refused = True
                self._refuse_own_transaction()

    def _refuse_own_transaction(self) -> None:
        """Raise `NotSupported` instead of waiting for what the caller's own transaction keeps back."""
        if self._listener is None or not (db.in_transaction() and self._source.waits_for_caller(self._listener.rows)):
            return
        if db.in_test_transaction():
            raise NotSupported(
                "This test's transaction is never committed, so nothing of it is delivered; "
                "use TransactionTestCase, or pytest's transactional_db."
            )
        raise NotSupported(
            "Nothing is delivered before the transaction ends in which this waits: it has written itself. "
            "Iterate after atomic(), or in transaction.on_commit()."
        )

    def _idle_until(self) -> float:
        return float("inf") if self._timeout is None else time.monotonic() + self._timeout

    def _hear_and_read(self, ends_at: float, *, is_last: bool) -> Read:
        """Wait for notifications until the next look is due, and look; connect anew when the connection breaks."""
        try:
            if self._listener is None:
                self._connect()
            self._hear(min(ends_at, self._look_at) - time.monotonic())
            if is_last or time.monotonic() >= self._look_at:
                return self._look()
        except Exception as error:
            if self._is_closed:
                return Read.ALL
            if not (self._has_begun and db.is_retryable(error)):
                raise
            self._wait_to_connect(error, ends_at)
        return Read.ALL

    def _connect(self) -> None:
        self._listener = db.Listener(self._source.channels)
        if not self._has_begun:
            self._source.begin(self._listener.rows)
            self._has_begun = True
        self._look_at = 0.0

    def _disconnect(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _wait_to_connect(self, error: Exception, ends_at: float) -> None:
        if self._retry == RETRIES[0]:
            logger.warning("the connection that listens was lost, trying again: %s", error)
        self._disconnect()
        self._bell.wait(max(0.0, min(self._retry, ends_at - time.monotonic())))
        self._retry = min(RETRIES[1], self._retry * 2)

    def _hear(self, seconds: float) -> None:
        assert self._listener is not None
        for channel, notification in self._listener.notifications(max(0.0, seconds), self._bell):
            unstored = self._source.unstored(channel, notification)
            if unstored is not None:
                self._ready.append(unstored)
            elif self._source.concerns(channel, notification):
                self._look_at, self._nap = 0.0, NAPS[0]

    def _look(self) -> Read:
        assert self._listener is not None
        before = self._source.position
        found, read = self._source.read(self._listener.rows)
        if self._retry != RETRIES[0]:
            logger.warning("the connection that listens is back")
        self._retry = RETRIES[0]
        self._ready.extend(found)
        if self._source.position != before:
            self._nap = NAPS[0]
        if read is Read.MORE:
            self._look_at = 0.0
        elif read is Read.KEPT_BACK:
            self._look_at = time.monotonic() + self._nap
            self._nap = min(NAPS[1], self._nap * 2)
        else:
            self._look_at = time.monotonic() + POLL
        return read


def _is_in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def cursor_of(after: Iterable[int] | None) -> Cursor | None:
    """Return a cursor that a caller kept, perhaps as JSON; raises `InvalidArgument` for what is none."""
    if after is None:
        return None
    try:
        xid, row = after
        cursor = int(xid), int(row)
    except (TypeError, ValueError, OverflowError):
        cursor = (-1, -1)
    # the transaction ids of a restored database are below zero
    if not (abs(cursor[0]) <= LARGEST and 0 <= cursor[1] <= LARGEST):
        raise InvalidArgument(f"A cursor is a pair of transaction id and id, not {shown(after)}.")
    return cursor


def behind(position: Cursor) -> Cursor:
    """Return the transaction id and the id behind which to read on from a position."""
    return _LOWEST if position == START else position


def split(found: Sequence[tuple[Any, ...]]) -> tuple[Sequence[tuple[Any, ...]], Read]:
    """Return what may be delivered of rows that begin with (xid, id, is_ripe, bytes so far), and how the read ended."""
    ripe = [row for row in found if row[2]]
    if len(ripe) < len(found):
        return ripe, Read.KEPT_BACK
    is_cut = bool(found) and (len(found) == BATCH or found[-1][3] >= BATCH_BYTES)
    return found, Read.MORE if is_cut else Read.ALL
