"""Which database sessions a handler has changed, so that the next handler gets a session as it begins.

The server tells nobody that a setting, a role, a session lock or a temporary table was left behind, and asking it
costs a round trip for each task. So the statements of handlers are looked at on their way.
"""

from __future__ import annotations

import functools
import re
import threading
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

#: Statements after which the session is another one. What ends with its transaction does not count.
CHANGES: re.Pattern[str] = re.compile(
    r"""
    (?:\A|;|\*/)\s*(?:
        SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b) | PREPARE\s+(?!TRANSACTION\b)
        | RESET\b | DISCARD\b | LISTEN\b | LOAD\b
        | CREATE\s+(?:(?:GLOBAL|LOCAL)\s+)?TEMP
    )
    | \bset_config\s*\((?![^()]*,\s*'?t(?:rue)?'?\s*\))
    | \bpg_(?:try_)?advisory_lock
    | \bINTO\s+TEMP
    | \bWITH\s+HOLD\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: Parts of such statements. Nearly all others have none of them, and looking for these takes a microsecond.
BEGINNINGS = ("set", "res", "dis", "lis", "loa", "pre", "cre", "/*")
PARTS = (";", "set_config", "advisory_lock", "temp", "hold")


def changes_session(sql: str) -> bool:
    """Say whether a statement changes the session beyond its transaction."""
    text = sql.lstrip().lower()
    may_change = text.startswith(BEGINNINGS) or any(part in text for part in PARTS)
    return may_change and CHANGES.search(text) is not None


class SessionWatch:
    """The connections of one thread whose sessions were changed since the last handler."""

    def __init__(self) -> None:
        self.changed: list[Any] = []

    def begin(self) -> None:
        """Watch the sessions of this thread from now on."""
        _of_thread.watch = self
        for wrapper in connections.all(initialized_only=True):
            _watch_cursors(wrapper)

    def close_changed(self) -> None:
        """Close the changed connections; a pool does not lend a closed one again."""
        while self.changed:
            self.changed.pop().close()


class _OfThread(threading.local):
    watch: SessionWatch | None = None


_of_thread = _OfThread()


def of_thread() -> SessionWatch | None:
    """Return the watch of this thread, if it has one."""
    return _of_thread.watch


class _WatchedCursor:
    """What a cursor does besides its work: it looks at statements before they are sent."""

    def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        _look_at(query, self)
        return super().execute(query, *args, **options)  # type: ignore[misc]

    def executemany(self, query: Any, *args: Any, **options: Any) -> Any:
        _look_at(query, self)
        return super().executemany(query, *args, **options)  # type: ignore[misc]


def _look_at(query: Any, cursor: Any) -> None:
    watch = _of_thread.watch
    if watch is None:
        return
    if isinstance(query, bytes):
        query = query.decode(errors="replace")
    text = query if isinstance(query, str) else query.as_string(cursor)
    if changes_session(text):
        watch.changed.append(cursor.connection)


@functools.cache
def _watched(factory: type) -> type:
    return factory if issubclass(factory, _WatchedCursor) else type(factory.__name__, (_WatchedCursor, factory), {})


def _watch_cursors(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Receiver of `connection_created`: let the cursors of this thread's connections be watched."""
    if _of_thread.watch is not None and connection.vendor == "postgresql" and connection.connection is not None:
        connection.connection.cursor_factory = _watched(connection.connection.cursor_factory)


connection_created.connect(_watch_cursors, dispatch_uid="django_workflow.session_watch")
