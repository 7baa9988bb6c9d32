"""What runs jobs, and whom it reports to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from django_workflow.engine.settling.settle import Settled
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.worker.jobs.job import Job

THREAD, LOOP, PROCESS = "thread", "async", "process"
#: Called once per job with what became of it: an outcome to settle, or a settle that is done (atomic steps).
Report = Callable[[Job, "Outcome | Settled"], None]


class Runner(Protocol):
    """Runs jobs, at most `concurrency` at once, in the order they come."""

    def submit(self, job: Job) -> None:
        """Queue a job; its result is reported, never raised."""

    def stop(self) -> None:
        """Let what runs jobs end once it is idle; running handlers are not waited for."""

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the end, so that connections are closed."""

    def is_lagging(self, seconds: float) -> bool:
        """Say whether no job can begin or end within `seconds`, for a handler blocks what runs the others."""
        return False
