"""Executors of the site's own: they run handlers in threads, processes or machines that no worker manages."""

from __future__ import annotations

import inspect
import logging
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from django_workflow.engine import outcome
from django_workflow.engine.outcome import ErrorRecord, Outcome
from django_workflow.worker import apart, invoke, remote
from django_workflow.worker.job import Job

if TYPE_CHECKING:
    from django_workflow.worker.executors import Report

logger = logging.getLogger("django_workflow.worker")


class FuturesRunner:
    """Any `concurrent.futures.Executor`, so that a site can hand heavy steps to an engine it already has.

    What is submitted is a module-level function with one text, and one text comes back.
    """

    def __init__(self, executor: Executor, report: Report) -> None:
        self._executor = executor
        self._report = report

    def submit(self, job: Job) -> None:
        """Hand a job over; it counts as begun from here on."""
        if not job.begin():
            return
        future = self._executor.submit(apart.perform, remote.describe(job))
        job.can_be_stopped(future.cancel)
        future.add_done_callback(lambda done: self._end(job, done))

    def stop(self) -> None:
        """Shut the executor down without waiting; what it raises is logged, for the worker ends whatever it is."""
        shutdown = self._executor.shutdown
        try:
            # not every engine's executor has what Python 3.9 added
            if _accepts(shutdown, "cancel_futures"):
                shutdown(wait=False, cancel_futures=True)
            else:
                shutdown(wait=False)
        except Exception:
            logger.exception("executor %r cannot be shut down", self._executor)

    def _end(self, job: Job, future: Future[str]) -> None:
        # an engine computes a result again that somebody holds on to and that one of its machines took along
        job.cannot_be_stopped()
        try:
            result = self._result(job, future)
        except BaseException as error:
            result = invoke.conclude_escaped(job, error)
        self._report(job, result)

    def _result(self, job: Job, future: Future[str]) -> Outcome:
        if future.cancelled():
            return outcome.released(job.task, "the executor cancelled it", **invoke.times(job))
        error = future.exception()
        if error is not None:
            return outcome.failed(job.task, ErrorRecord.of(error), **invoke.times(job))
        return remote.read_result(job, future.result())


def _accepts(function: object, name: str) -> bool:
    """Say whether a function takes an argument of this name."""
    try:
        known = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return any(item.name == name or item.kind is item.VAR_KEYWORD for item in known)
