"""Handlers that are coroutines, in one event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections import deque

from django_workflow.engine.tasks.claimed import log_fields
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.worker.jobs import connections, invoke
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.jobs.session_watch import SessionWatch
from django_workflow.worker.runners.runner import Report, Runner

logger = logging.getLogger("django_workflow.worker")


class EventLoopRunner(Runner):
    """One event loop in a thread, for coroutine handlers."""

    def __init__(self, concurrency: int, report: Report) -> None:
        self._report = report
        self._concurrency = concurrency
        self._arriving: deque[Job] = deque()
        self._waiting: deque[Job] = deque()
        self._running: dict[asyncio.Task[Outcome], Job] = {}
        self._is_stopping = False
        self._watch = SessionWatch()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="django_workflow-event-loop", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; many jobs submitted together wake the loop once."""
        self._arriving.append(job)
        if len(self._arriving) == 1:
            self._loop.call_soon_threadsafe(self._take)

    def stop(self) -> None:
        """End the loop; coroutines that still run are cancelled."""
        self._is_stopping = True
        self._loop.call_soon_threadsafe(self._loop.stop)

    def join(self, timeout: float) -> None:
        """Wait for the loop's thread."""
        self._thread.join(timeout)

    def is_lagging(self, seconds: float) -> bool:
        """Say whether the loop does not come round within `seconds`: a handler blocks it."""
        if self._is_stopping:
            return False
        came_round = threading.Event()
        self._loop.call_soon_threadsafe(came_round.set)
        return not came_round.wait(seconds)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            watching = self._loop.create_task(connections.awatch_sessions(self._watch))  # before what any handler does
            while not self._is_stopping:
                try:
                    self._loop.run_forever()
                except BaseException:
                    # a task of a handler's own that ends in SystemExit ends the loop; all other handlers go on
                    logger.exception("the event loop was stopped by what runs in it; it goes on")
            watching.cancel()
            for task in self._running:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._running, return_exceptions=True))
            self._loop.run_until_complete(connections.aclose_all())
        finally:
            self._loop.close()
            connections.close_all()

    def _take(self) -> None:
        while self._arriving:
            self._waiting.append(self._arriving.popleft())
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self._concurrency:
            job = self._waiting.popleft()
            if job.begin():
                task = self._loop.create_task(self._run(job))
                self._running[task] = job
                task.add_done_callback(self._done)
                job.can_be_stopped(functools.partial(self._loop.call_soon_threadsafe, task.cancel))

    async def _run(self, job: Job) -> Outcome:
        result = await invoke.acall(job)
        if result.error is not None or self._watch.changed:
            # only then: what costs a switch of threads is not for ten thousand handlers a second
            try:
                await connections.aleave_healthy()
            except (Exception, asyncio.CancelledError):
                logger.exception("a handler's connections cannot be closed", extra=log_fields(job.task))
        return result

    def _done(self, task: asyncio.Task[Outcome]) -> None:
        job = self._running.pop(task)
        try:
            result = task.result()
        except BaseException as error:  # as of a task that is cancelled before its first line
            result = invoke.conclude_escaped(job, error)
        job.cannot_be_stopped()
        self._report(job, result)
        self._fill()
