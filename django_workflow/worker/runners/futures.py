"""Executors of the site's own: they run handlers in threads, processes or machines that no worker manages."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Final

from django_workflow.engine.tasks import outcome
from django_workflow.engine.tasks.outcome import ErrorRecord, Outcome
from django_workflow.exceptions import NotSupported
from django_workflow.worker.jobs import invoke
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.runners import child_main
from django_workflow.worker.runners.messages import Answer, Order
from django_workflow.worker.runners.runner import Report, Runner

logger = logging.getLogger("django_workflow.worker")

#: How an executor makes sure that an attempt begins once: by the task's row in the database, or not at all.
FENCES: Final = ("database", "none")


class LostElsewhere(Exception):
    """What an executor sets as a future's exception where it lost the job, as opposed to a handler that failed."""


class TaskExecutor(Executor):
    """An executor that knows more of its jobs than their function: a base for those of distributed engines.

    fence: "database", or "none" where the processes that run handlers cannot reach the site's database. Without a
    fence an attempt may be executed more than once, and its timeout counts from when it is handed over.
    """

    fence: str = "database"

    def submit_task(self, text: str, *, key: str, resources: dict[str, float]) -> Future[str]:
        """Let `child_main.perform(text)` be executed; the future fails with `LostElsewhere` where it was lost.

        key: what the attempt is known by. resources: what its step asks for.
        """
        raise NotImplementedError

    def slots(self) -> int:
        """Return how many jobs it wants at once; 0 while it cannot take any."""
        raise NotImplementedError

    def stop_task(self, key: str) -> None:
        """Stop a task whose handler has begun, beyond what its own process does; not every engine can."""

    def examine(
        self, resources: Mapping[str, Mapping[str, float]], handlers: Sequence[str]
    ) -> Iterable[tuple[str, str, str]]:
        """Return what is wrong, for `workflow_doctor`: level ("ok", "warning", "error"), text, and what to do.

        resources: what declared steps ask for, by step. handlers: the names of theirs.
        """
        return ()

    def join(self, timeout: float | None = None) -> None:
        """Wait until what `shutdown` began is done."""


class FuturesRunner(Runner):
    """Any `concurrent.futures.Executor`, so that a site can hand heavy steps to an engine it already has.

    What is submitted is a module-level function with one text, and one text comes back. The handler begins where it
    is executed, once for each attempt however often that is; until then the job waits elsewhere.

    name: of the executor. concurrency: jobs at once where the executor has no wish of its own.
    """

    def __init__(self, name: str, executor: Executor, report: Report, concurrency: int) -> None:
        self.name = name
        self.is_fenced = getattr(executor, "fence", FENCES[0]) != "none"
        self._executor = executor
        self._report = report
        self._concurrency = concurrency

    def slots(self) -> int:
        """Return how many jobs it wants at once."""
        return self._executor.slots() if isinstance(self._executor, TaskExecutor) else self._concurrency

    def submit(self, job: Job) -> None:
        """Hand a job over."""
        if not job.hand_over(self.name):
            return
        if not self.is_fenced:
            job.begun_at = time.monotonic()  # nobody will tell
        future = self._start(job)
        job.can_be_stopped(partial(self._stop, job, future))
        future.add_done_callback(partial(self._end, job))

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
            logger.exception("executor %r cannot be shut down", self.name)

    def join(self, timeout: float) -> None:
        """Wait until the executor is left."""
        if isinstance(self._executor, TaskExecutor):
            self._executor.join(timeout)

    def _stop(self, job: Job, future: Future[Any]) -> None:
        """Take a job back that has not begun; one that has is stopped by its own process, which watches its lease."""
        if job.begun_at is None:
            future.cancel()
        elif isinstance(self._executor, TaskExecutor):
            self._executor.stop_task(_key(job))

    def _start(self, job: Job) -> Future[str]:
        text = Order(job.task, self.is_fenced).to_json()
        task = job.task
        resources = dict(task.step.resources)
        if isinstance(self._executor, TaskExecutor):
            return self._executor.submit_task(text, key=_key(job), resources=resources)
        if resources:
            asked = ", ".join(f"{name}: {number:g}" for name, number in resources.items())
            raise NotSupported(
                f"Step {task.step.name!r} asks for resources ({asked}), and executor {self.name!r} knows none: "
                "let it be a TaskExecutor, such as DaskExecutor, or take resources= away."
            )
        return self._executor.submit(child_main.perform, text)

    def _end(self, job: Job, future: Future[str]) -> None:
        # an engine computes a result again that somebody holds on to and that one of its machines took along
        job.cannot_be_stopped()
        try:
            result = self._result(job, future)
        except BaseException as error:
            result = invoke.conclude_escaped(job, error)
        self._report(job, result)

    def _result(self, job: Job, future: Future[str]) -> Outcome:
        if future.cancelled() or job.is_reported:
            return outcome.released(job.task, "the executor cancelled it", **invoke.times(job))
        error = future.exception()
        if error is None:
            return Answer.from_json(future.result()).outcome_of(job)
        has_begun = job.begun_at is not None
        if isinstance(error, LostElsewhere):
            return outcome.lost_elsewhere(job.task, str(error), has_begun=has_begun, **invoke.times(job))
        is_retryable = not isinstance(error, NotSupported)
        return outcome.failed(job.task, ErrorRecord.of(error), is_retryable=is_retryable, **invoke.times(job))


def _key(job: Job) -> str:
    return f"dw-{job.task.id}-{job.task.lease_id}"


def _accepts(function: object, name: str) -> bool:
    """Say whether a function takes an argument of this name."""
    try:
        known = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return any(item.name == name or item.kind is item.VAR_KEYWORD for item in known)
