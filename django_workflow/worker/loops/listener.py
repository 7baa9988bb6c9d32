"""Listening: queues with new messages, runs that were cancelled or paused, queues that were paused."""

from __future__ import annotations

import logging
import threading
from uuid import UUID

from django_workflow import db
from django_workflow.notifications import CONTROL_CHANNEL, QUEUE_KIND, RUN_KIND
from django_workflow.queue import CHANNEL
from django_workflow.worker.dispatching.dispatcher import Dispatcher

logger = logging.getLogger("django_workflow.worker")

#: Seconds after which a listener looks whether it should stop; psycopg wakes as often by itself.
INTERVAL = 0.1
#: What it is called among the threads that use the database.
EAR = "ear"


class Listener:
    """A thread with a listening connection of its own; what it misses is found by polling."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._stopping = threading.Event()
        self.is_listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="django_workflow-ear", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with db.listen([CHANNEL, CONTROL_CHANNEL]) as listener:
                    self.is_listening.set()
                    self._dispatcher.outage.end(EAR)
                    for name in self._dispatcher.options.queues:
                        self._dispatcher.hear(name)  # what was sent while nobody listened
                    while not self._stopping.is_set():
                        self._tell(listener.notifications(INTERVAL))
            except BaseException as error:
                # notifications are hints; the worker polls until this connection is back
                if not self._dispatcher.outage.meet(EAR, error):
                    logger.warning("listening failed, trying again: %s", error)
                self.is_listening.clear()
                self._stopping.wait(0.5)

    def _tell(self, notifications: list[tuple[str, str]]) -> None:
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
