"""What a worker process is told to do, and what it has done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django_workflow.engine.tasks.claimed import log_fields
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.statuses import SUCCEEDED
from django_workflow.text import in_one_line
from django_workflow.worker.runners import runner

logger = logging.getLogger("django_workflow.worker")


@dataclass
class WorkerOptions:
    """What a worker process does.

    queues: names of the queues it serves, in the order it looks at them.
    concurrency: handlers at once. prefetch: tasks claimed beyond them. executor: "thread" or "process".
    lease, grace: timedeltas. drain: stop when the queues are empty.
    """

    queues: Sequence[str] = ("default",)
    concurrency: int = 16
    prefetch: int = 200
    executor: str = runner.THREAD
    lease: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=30)
    drain: bool = False


@dataclass
class Tally:
    """What this process has done, for the status line."""

    succeeded: int = 0
    failed: int = 0
    settled: int = 0
    claimed: int = 0
    last_claim_at: float = field(default_factory=time.monotonic)

    def count(self, outcome: Outcome, *, superseded: bool) -> None:
        """Count an attempt that is settled; superseded: it had ended before."""
        self.settled += 1
        if outcome.kind == SUCCEEDED and not superseded:
            self.succeeded += 1
        elif outcome.error is not None:
            self.failed += 1
            if superseded:
                what = (outcome.attempt, outcome.kind, in_one_line(outcome.error.error_class))
                logger.info("attempt %d had ended before it %s: %s", *what, extra=log_fields(outcome.task))
