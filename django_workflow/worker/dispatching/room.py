"""How much a worker may claim."""

from __future__ import annotations

from dataclasses import dataclass

from django_workflow.worker.dispatching.external_jobs import ExternalJobs
from django_workflow.worker.dispatching.in_flight import InFlight
from django_workflow.worker.dispatching.settler import Settler
from django_workflow.worker.dispatching.unsettled import UnsettledOutcomes
from django_workflow.worker.options import WorkerOptions


@dataclass(frozen=True, slots=True)
class Room:
    """The room for tasks, by what a worker has in hand and what waits to be settled."""

    options: WorkerOptions
    in_flight: InFlight
    external: ExternalJobs
    unsettled: UnsettledOutcomes
    settler: Settler

    def of(self, queue: str) -> int:
        """Return how many tasks of a queue may be claimed now."""
        room = self.in_flight.room(self.options.prefetch, self.unsettled.untried) - self.settler.reserved()
        return self.external.room(queue, max(0, room))

    def slots(self) -> int:
        """Return how many slots are free, and not kept for what the batch in flight may take."""
        return max(0, self.options.concurrency - self.in_flight.count() - self.settler.reserved())
