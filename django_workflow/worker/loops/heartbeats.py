"""Heartbeats: the leases of all a worker holds are extended from a thread and connection of their own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django_workflow.conf import conf
from django_workflow.engine.tasks import leases
from django_workflow.worker import registration
from django_workflow.worker.dispatching.dispatcher import Dispatcher
from django_workflow.worker.loop import Loop

logger = logging.getLogger("django_workflow.worker")

#: A lease that could not be looked at because its row was locked is looked at again so soon, in seconds.
AGAIN = 0.5
LAG = 1.0


class Heartbeats(Loop):
    """Extends leases every third of one; a heartbeat never waits for a settle.

    on_stall: called where the dispatcher's loop stands still for STALL_LIMIT. Heartbeats follow the loop: a lease that
    was kept by a process whose work is dead would keep its task from everybody.
    """

    name = "heartbeats"

    def __init__(self, dispatcher: Dispatcher, on_stall: Callable[[], None] | None = None) -> None:
        super().__init__(dispatcher.outage)
        self._dispatcher = dispatcher
        self._on_stall = on_stall
        self._lease = dispatcher.options.lease.total_seconds()
        self._nap = self.first_after = self._lease / 3
        # a missed heartbeat is repeated soon; two thirds of the lease are left for that
        self.retry_after = min(1.0, self._lease / 10)
        #: For each part of the dispatcher the number of what it was at, and the seconds for which it is.
        self._standing: dict[str, tuple[int | None, float]] = {}

    def round(self) -> float:
        """Extend leases, unless the dispatcher's loop stands still."""
        napped, self._nap = self._nap, self.retry_after
        self._nap = self._lease / 3 if self._is_stalled(napped) else self.beat()
        return self._nap

    def _is_stalled(self, napped: float) -> bool:
        """Say whether the loop has been in one round, or its settle in one batch, for too long.

        napped: seconds since the last look, as far as this process ran: one that was stopped for an hour is as before.
        """
        seconds = 0.0
        for name, number in self._dispatcher.positions():
            before, so_far = self._standing.get(name, (None, 0.0))
            so_far = so_far + napped if number is not None and number == before else 0.0
            self._standing[name] = (number, so_far)
            seconds = max(seconds, so_far)
        if seconds < conf.STALL_LIMIT.total_seconds():
            return False
        logger.critical("the worker's loop has stood still for %d s: its heartbeats stop", seconds)
        if self._on_stall is not None:
            self._on_stall()
        return True

    def beat(self) -> float:
        """Extend what is held, stop what was ended elsewhere; return the seconds until the next beat."""
        began = time.monotonic()
        jobs = {job.task.id: job for job in list(self._dispatcher.in_flight.jobs.values())}
        progress = {key: job.context.progress for key, job in jobs.items() if job.context.progress is not None}
        pulse = leases.heartbeat([job.task for job in jobs.values()], self._lease, progress)
        self._dispatcher.hear_ended((jobs[key].task, status) for key, status in pulse.ended.items())
        if self._dispatcher.is_loop_lagging(min(LAG, self._lease / 6)):
            logger.warning("the event loop is blocked: a coroutine handler does not yield")
        busy = self._dispatcher.in_flight.busy()
        registration.tell_alive(self._dispatcher.worker_id, busy, self._dispatcher.tally.settled)
        if pulse.skipped:
            return AGAIN
        return max(0.0, self._lease / 3 - (time.monotonic() - began))
