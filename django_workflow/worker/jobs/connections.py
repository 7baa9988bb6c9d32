"""Django's connections in threads and processes that run one handler after the other."""

from __future__ import annotations

import select

from asgiref.sync import sync_to_async
from django.db import connections

from django_workflow.worker.jobs import session_watch
from django_workflow.worker.jobs.session_watch import SessionWatch


def leave_healthy() -> None:
    """Undo what a handler may leave behind on this thread's connections.

    That are open transactions, broken sockets, and where the thread's sessions are watched, changed sessions.
    """
    watch = session_watch.of_thread()
    if watch is not None:
        watch.close_changed()
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block:
            # closed inside a block, Django's wrapper refuses every further use: the next handler gets a new one
            connection.close()
            del connections[connection.alias]
        elif not connection.autocommit or getattr(connection.connection, "closed", False):
            connection.close()
        elif connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()


def close_ended() -> None:
    """Close connections that the server has ended, so that a restart does not cost the next handler an attempt.

    To an idle connection a server has nothing to say but that it is over; asking the socket costs 2 µs.
    """
    for connection in connections.all(initialized_only=True):
        raw = connection.connection
        if raw is None or connection.vendor != "postgresql":
            continue
        try:
            poll = select.poll()
            poll.register(raw.fileno(), select.POLLIN)
            is_ended = bool(poll.poll(0))
        except Exception:  # closed already: it has no socket
            is_ended = True
        if is_ended:
            connection.close()


def close_obsolete() -> None:
    """Give back connections that are past CONN_MAX_AGE."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()


def close_all() -> None:
    """Close this thread's connections."""
    connections.close_all()


async def awatch_sessions(watch: SessionWatch) -> None:
    """Watch the sessions of the thread in which coroutines use the ORM."""
    await sync_to_async(watch.begin, thread_sensitive=True)()


#: For the thread in which coroutines use the ORM: all of a process share one.
aleave_healthy = sync_to_async(leave_healthy, thread_sensitive=True)
aclose_all = sync_to_async(close_all, thread_sensitive=True)
