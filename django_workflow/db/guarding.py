"""The engine's transaction while code of the site's is called in it: conditions and retry strategies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

from django_workflow.db.sessions import close, connection

BROKEN = "it broke the transaction that it was called in: a statement failed, or a transaction was left open"


class TransactionBroken(Exception):
    """Code of the site's left the engine's transaction other than it found it."""


@contextmanager
def guarded() -> Iterator[None]:
    """Call code of the site's in the block: what it does to this thread's transaction ends with it.

    Its own statements are kept where all is well, and cost a savepoint; else they are undone. Raises
    `TransactionBroken` where it left a transaction open or one in which a statement failed. A process that it forked
    and that comes back from it ends here: the transaction is the other one's.
    """
    process_id = os.getpid()
    wrapper = connection()
    guard = _Guard(wrapper)
    try:
        with wrapper.execute_wrapper(guard.watch):
            yield
    except BaseException:
        _end_if_forked(process_id)
        with suppress(TransactionBroken):
            guard.restore()
        raise
    _end_if_forked(process_id)
    guard.restore()


class _Guard:
    """What a connection was like before."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self._wrapper = wrapper
        self._connection = wrapper.connection
        self._was_in_block = wrapper.in_atomic_block
        self._depths = len(wrapper.savepoint_ids), len(wrapper.atomic_blocks)
        self._needs_rollback = wrapper.needs_rollback
        self._is_watching = True
        self._savepoint: str | None = None

    def watch(self, execute: Callable[..., Any], *statement: Any) -> Any:
        """Set a savepoint before the first statement."""
        if self._is_watching and self._was_in_block:
            self._is_watching = False
            self._savepoint = self._wrapper.savepoint()
        return execute(*statement)

    def restore(self) -> None:
        """Undo what was done where the transaction is not as it was, and say so."""
        wrapper = self._wrapper
        if not self._was_in_block:
            if wrapper.in_atomic_block:
                close()
                raise TransactionBroken(BROKEN)
            return
        savepoints, blocks = self._depths
        is_other = wrapper.connection is not self._connection
        is_open = (len(wrapper.savepoint_ids), len(wrapper.atomic_blocks)) != self._depths
        if not (is_other or is_open or self._is_failed()):
            if self._savepoint is not None:
                wrapper.savepoint_commit(self._savepoint)
            return
        if not is_other:
            del wrapper.savepoint_ids[savepoints:]
            del wrapper.atomic_blocks[blocks:]
            wrapper.needs_rollback = self._needs_rollback
            if self._savepoint is not None:
                wrapper.savepoint_rollback(self._savepoint)
        raise TransactionBroken(BROKEN)

    def _is_failed(self) -> bool:
        wrapper = self._wrapper
        status = wrapper.connection.info.transaction_status
        return wrapper.needs_rollback != self._needs_rollback or status != TransactionStatus.INTRANS


def _end_if_forked(process_id: int) -> None:
    if os.getpid() != process_id:
        os._exit(0)
