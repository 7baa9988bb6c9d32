"""What a worker process is told to do, and what it has done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django_workflow.worker.runners import runner


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
