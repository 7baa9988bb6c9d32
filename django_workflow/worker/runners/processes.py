"""Handlers in child processes, one for each thread that waits for it."""

from __future__ import annotations

import functools
import threading

from django_workflow.engine.settling.settle import Settled
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.runners.child import Child
from django_workflow.worker.runners.runner import Report
from django_workflow.worker.runners.threads import ThreadRunner


class ProcessRunner(ThreadRunner):
    """Child processes, each fed by a thread of ours, so that a handler can be killed and may hold its GIL."""

    is_ready = False

    def __init__(self, concurrency: int, report: Report) -> None:
        super().__init__(concurrency, report)
        self._local = threading.local()
        self._children: set[Child] = set()

    def run(self, job: Job) -> Outcome | Settled:
        """Run one job in this thread's child."""
        child = self._own_child()
        with child.serving(job):
            job.can_be_stopped(functools.partial(child.kill, job))
            child.wait_until_ready()
            job.ready()
            return child.perform(job)

    def _own_child(self) -> Child:
        """Return this thread's child, a new one where it has ended."""
        child: Child | None = getattr(self._local, "child", None)
        if child is None or not child.is_alive():
            self._close_child()
            child = self._local.child = Child()
            self._children.add(child)
        return child

    def end_thread(self) -> None:
        """Close what this thread has opened."""
        self._close_child()
        super().end_thread()

    def _close_child(self) -> None:
        child: Child | None = self._local.__dict__.pop("child", None)
        if child is not None:
            child.close()
            self._children.discard(child)

    def stop(self) -> None:
        """Let idle threads and all children end."""
        super().stop()
        for child in list(self._children):
            child.end()
