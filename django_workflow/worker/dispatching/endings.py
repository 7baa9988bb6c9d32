"""Attempts that others have ended, and what was paused: what a worker hears of the tasks that it holds."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from uuid import UUID

from django_workflow.engine.tasks import leases
from django_workflow.engine.tasks.claimed import ClaimedTask, log_fields
from django_workflow.worker.dispatching.in_flight import InFlight

logger = logging.getLogger("django_workflow.worker")


class Endings:
    """Stops handlers whose attempt is over.

    Other threads call `hear_control` and `hear`. lease: seconds.
    """

    def __init__(self, in_flight: InFlight, lease: float) -> None:
        self._in_flight = in_flight
        self._lease = lease
        self._controlled: set[UUID | str] = set()
        self._ended: deque[tuple[ClaimedTask, str]] = deque()

    def hear_control(self, paused_or_ended: UUID | str) -> None:
        """A notification says that a run was cancelled or paused, or a queue paused."""
        self._controlled.add(paused_or_ended)

    def hear(self, ended: Iterable[tuple[ClaimedTask, str]]) -> None:
        """A heartbeat learnt that leases are over, and how."""
        self._ended.extend(ended)

    def look(self) -> set[UUID | str]:
        """Look at the tasks of what was controlled, and return that."""
        controlled, self._controlled = self._controlled, set()
        if not controlled:
            return controlled
        jobs = self._in_flight.jobs.values()
        tasks = [job.task for job in jobs if job.task.run_id in controlled and not job.task.is_lost]
        try:
            pulse = leases.heartbeat(tasks, self._lease)
        except Exception:
            self._controlled |= controlled
            raise
        self._ended.extend((task, pulse.ended[task.id]) for task in tasks if task.id in pulse.ended)
        return controlled

    def stop_handlers(self) -> None:
        """Stop handlers whose attempt is over; what they still return is recorded as late."""
        while self._ended:
            task, status = self._ended.popleft()
            if self._in_flight.end_elsewhere(task):
                logger.info("attempt ended elsewhere: %s", status, extra=log_fields(task))
