"""Handlers in threads."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress

from django_workflow.engine.settling.settle import Settled
from django_workflow.engine.tasks.claimed import log_fields
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.worker.jobs import connections, invoke
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.jobs.session_watch import SessionWatch
from django_workflow.worker.runners.runner import Report, Runner

logger = logging.getLogger("django_workflow.worker")


class ThreadRunner(Runner):
    """Threads that take jobs from one queue, so that a finished handler's thread goes on without a round trip."""

    #: Whether a handler starts at once.
    is_ready = True

    def __init__(self, concurrency: int, report: Report) -> None:
        self._report = report
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._concurrency = concurrency
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Queue a job."""
        if len(self._threads) < self._concurrency:
            try:
                self._add_thread()
            except Exception:
                if not self._threads:
                    raise
                logger.exception("there is no further thread for handlers; they wait for one of %d", len(self._threads))
        self._jobs.put(job)

    def stop(self) -> None:
        """Let idle threads end."""
        for _ in self._threads:
            self._jobs.put(None)

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the threads to end, so that their connections are closed."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def run(self, job: Job) -> Outcome | Settled:
        """Run one job in this thread."""
        return invoke.call_atomic(job) if job.is_atomic else invoke.call(job)

    def _add_thread(self) -> None:
        name = f"django_workflow-handler-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        SessionWatch().begin()
        try:
            while (job := self._next()) is not None:
                if job.begin(is_ready=self.is_ready):
                    self._run_and_report(job)
        finally:
            self.end_thread()

    def end_thread(self) -> None:
        """Close what this thread has opened."""
        connections.close_all()

    def _run_and_report(self, job: Job) -> None:
        """Run one job; whatever is raised on the way ends its attempt, and neither this thread nor its slot."""
        try:
            connections.close_ended()
            result = self.run(job)
        except BaseException as error:
            result = invoke.conclude_escaped(job, error)
        try:
            if job.is_interrupted:
                connections.close_all()  # it may have waited for an answer that will still come
            else:
                connections.leave_healthy()
        except BaseException:
            logger.exception("a handler's connections cannot be closed", extra=log_fields(job.task))
        self._report(job, result)

    def _next(self) -> Job | None:
        try:
            return self._jobs.get_nowait()
        except queue.Empty:
            # idle: connections past CONN_MAX_AGE are given back, and not before each of a thousand quick jobs
            with suppress(Exception):
                connections.close_obsolete()
            return self._jobs.get()
