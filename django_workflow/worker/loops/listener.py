"""Listening: queues with new messages, runs that were cancelled or paused, queues that were paused."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django_workflow import db
from django_workflow.notifications import CONTROL_CHANNEL, QUEUE_KIND, RUN_KIND
from django_workflow.queue import CHANNEL
from django_workflow.worker.dispatching.dispatcher import Dispatcher
from django_workflow.worker.loop import Loop

#: Seconds after which a listener looks whether it should stop; psycopg wakes as often by itself.
INTERVAL = 0.1


class Listener(Loop):
    """Listens on a connection of its own; notifications are hints, and the worker polls while it is away."""

    name = "listener"
    retry_after = 0.5

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__(dispatcher.outage)
        self._dispatcher = dispatcher
        self._connection: db.Listener | None = None

    def round(self) -> float:
        """Pass on what arrives within the interval."""
        if self._connection is None:
            self._connection = db.Listener([CHANNEL, CONTROL_CHANNEL])
            for name in self._dispatcher.options.queues:
                self._dispatcher.hear(name)  # what was sent while nobody listened
        self._pass_on(self._connection.notifications(INTERVAL))
        return 0.0

    def recover(self) -> None:
        """Close the connection; the next round opens another."""
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    finish = recover

    def _pass_on(self, notifications: list[tuple[str, str]]) -> None:
        for channel, payload in notifications:
            if channel == CHANNEL:
                self._dispatcher.hear(payload)
            else:
                self._obey(payload)

    def _obey(self, payload: str) -> None:
        """Obey what names a run or a queue; any role may notify, so anything else is left alone."""
        kind, _, name = payload.partition(":")
        if kind == RUN_KIND and db.is_run_id(name):
            self._dispatcher.hear_control(UUID(name))
        elif kind == QUEUE_KIND and name in self._dispatcher.options.queues:
            self._dispatcher.hear_control(name)
