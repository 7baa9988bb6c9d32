"""Listening: a connection of its own that hears what is told on channels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections

from django_workflow.conf import conf
from django_workflow.db.scope import schema_heard_by, scoped
from django_workflow.db.sessions import Bell, leave_pool


class Listener:
    """A connection of its own that listens on channels, and reads what was told of.

    It is no thread's in particular: whoever shares it lets one use it at a time.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        alias = conf.LISTEN_DATABASE or conf.DATABASE
        self._wrapper = connections.create_connection(alias)
        leave_pool(self._wrapper)  # it would go back listening
        self._wrapper.inc_thread_sharing()
        self._wrapper.ensure_connection()
        #: The channels as the code calls them, by the names they have for this site.
        self._channels: dict[str, str] = {}
        try:
            self.listen(channels)
        except BaseException:
            self.close()
            raise

    def listen(self, channels: Sequence[str]) -> None:
        """Listen on further channels."""
        schema = schema_heard_by(self._wrapper)
        with self._wrapper.cursor() as cursor:
            for channel in channels:
                own = scoped(channel, schema)
                self._channels[own] = channel
                cursor.execute(f'LISTEN "{own}"')

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
        return [(self._channels[item.channel], item.payload) for item in found]

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
