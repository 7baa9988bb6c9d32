"""Running a job for an engine of the site's own, in its process: begun once, and watched as long as it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from django_workflow import db
from django_workflow.definition.registry import registry
from django_workflow.engine.tasks import external, outcome
from django_workflow.engine.tasks.external import Fence
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.statuses import FAILED
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.runners import perform as performing
from django_workflow.worker.runners.messages import ALREADY_BEGUN, UNREACHABLE, Answer, Order

logger = logging.getLogger("django_workflow.worker")

#: Seconds between two looks at the leases of what runs in this process.
WATCH_EVERY = 5.0


def perform(text: str) -> str:
    """Run an order in this thread, if it may begin here; return its answer. Both are text."""
    return _perform(Order.from_json(text)).to_json()


def _perform(order: Order) -> Answer:
    task = order.task
    handler = registry.handler(task.step.handler)
    if handler is None or not order.is_fenced:
        return performing.perform(order)
    try:
        begins = external.begin_once(task.fence)
    except Exception as error:
        return Answer(UNREACHABLE, words=str(error))
    finally:
        db.close()  # a heavy handler may never need it
    if not begins:
        return Answer(ALREADY_BEGUN)
    job = Job(task, handler)
    with WATCH.over(job):
        return performing.execute(job, judge=lambda result: _judge(job, result))


def _judge(job: Job, result: Outcome) -> Outcome:
    """Turn the end of a handler that was stopped at its deadline into what it is."""
    if result.kind != FAILED or not (job.is_interrupted and WATCH.is_overdue(job)):
        return result
    assert job.timeout is not None
    timed_out = outcome.timed_out(job.task, job.timeout)
    return replace(result, kind=timed_out.kind, output=None, error=timed_out.error, is_retryable=timed_out.is_retryable)


class Watch:
    """A thread that looks at the leases of all that runs in this process, and at the deadlines.

    A handler whose attempt is over, or that is past its timeout, is stopped; progress that handlers report is
    written. The thread lives, and holds a connection, as long as there is something to watch.
    """

    def __init__(self) -> None:
        self._jobs: dict[Fence, Job] = {}
        self._overdue: set[Fence] = set()
        self._written: dict[Fence, float] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, job: Job) -> Iterator[None]:
        """Watch a job as long as it runs."""
        self._add(job)
        try:
            yield
        finally:
            self._remove(job)

    def is_overdue(self, job: Job) -> bool:
        """Say whether a job was stopped because of its timeout."""
        return job.task.fence in self._overdue

    def _add(self, job: Job) -> None:
        with self._lock:
            self._jobs[job.task.fence] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="django_workflow-watch", daemon=True)
                self._thread.start()
        self._changed.set()

    def _remove(self, job: Job) -> None:
        with self._lock:
            self._jobs.pop(job.task.fence, None)
            self._overdue.discard(job.task.fence)
            self._written.pop(job.task.fence, None)
        self._changed.set()

    def _run(self) -> None:
        look_at = time.monotonic() + WATCH_EVERY
        try:
            while jobs := self._watched():
                now = time.monotonic()
                due = [job.deadline for job in jobs.values() if job.deadline is not None and not job.is_interrupted]
                self._changed.wait(max(0.0, min([look_at, *due]) - now))
                self._changed.clear()
                self._stop_overdue(jobs)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + WATCH_EVERY
                    self._look(jobs)
        finally:
            db.close()

    def _watched(self) -> dict[Fence, Job]:
        """Return what there is to watch; where that is nothing, this thread ends, and the next job starts another."""
        with self._lock:
            if not self._jobs:
                self._thread = None
            return dict(self._jobs)

    def _stop_overdue(self, jobs: dict[Fence, Job]) -> None:
        now = time.monotonic()
        for fence, job in jobs.items():
            if job.deadline is not None and job.deadline <= now and not job.is_interrupted:
                with self._lock:
                    if fence not in self._jobs:
                        continue
                    self._overdue.add(fence)
                _interrupt(job)

    def _look(self, jobs: dict[Fence, Job]) -> None:
        progress = {fence: job.context.progress for fence, job in jobs.items()}
        news = {fence: value if value != self._written.get(fence) else None for fence, value in progress.items()}
        try:
            held = external.watch(news)
        except Exception as error:
            # the handlers go on: what they return after their lease changes nothing
            logger.warning("the leases of this process cannot be looked at: %s", error)
            db.close()
            return
        self._written = {fence: value for fence, value in progress.items() if value is not None and fence in held}
        for fence in jobs.keys() - held:
            _interrupt(jobs[fence])


def _interrupt(job: Job) -> None:
    with suppress(Exception):  # a loop that has just ended takes no calls
        job.interrupt()


WATCH = Watch()
