"""Heartbeats: the leases of all a worker holds are extended from a thread and connection of their own."""

from __future__ import annotations

import logging
import threading
import time

from django_workflow import db
from django_workflow.engine import claim
from django_workflow.worker import registration
from django_workflow.worker.dispatcher import Dispatcher

logger = logging.getLogger("django_workflow.worker")

#: A lease that could not be looked at because its row was locked is looked at again so soon, in seconds.
AGAIN = 0.5
LAG = 1.0


class Heart:
    """Extends leases every third of one; a heartbeat never waits for a settle."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lease = dispatcher.options.lease.total_seconds()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="django_workflow-heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        db.serve_worker()
        try:
            nap = self._lease / 3
            while not self._stopping.wait(nap):
                try:
                    nap = self.beat()
                except Exception:
                    # a missed beat is repeated soon; two thirds of the lease are left for that
                    logger.warning("a heartbeat failed", exc_info=True)
                    db.close()
                    nap = min(1.0, self._lease / 10)
        finally:
            db.close()

    def beat(self) -> float:
        """Extend what is held, stop what was ended elsewhere; return the seconds until the next beat."""
        began = time.monotonic()
        jobs = {job.task.id: job for job in list(self._dispatcher.hand.jobs.values())}
        progress = {key: job.context.progress for key, job in jobs.items() if job.context.progress is not None}
        pulse = claim.heartbeat([job.task for job in jobs.values()], self._lease, progress)
        self._dispatcher.hear_ended((jobs[key].task, status) for key, status in pulse.ended.items())
        if self._dispatcher.is_loop_lagging(min(LAG, self._lease / 6)):
            logger.warning("the event loop is blocked: a coroutine handler does not yield")
        registration.tell_alive(self._dispatcher.worker_id, len(jobs), self._dispatcher.tally.settled)
        if pulse.skipped:
            return AGAIN
        return max(0.0, self._lease / 3 - (time.monotonic() - began))
