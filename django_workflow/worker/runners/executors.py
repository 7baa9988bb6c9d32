"""Which executor runs a step, and the runners of one worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from django.utils.module_loading import import_string

from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.registry import registry
from django_workflow.engine.tasks.claimed import log_fields
from django_workflow.exceptions import UnregisteredHandler
from django_workflow.spelling import guess
from django_workflow.worker.jobs import invoke
from django_workflow.worker.jobs.job import Job
from django_workflow.worker.runners.event_loop import EventLoopRunner
from django_workflow.worker.runners.futures import FuturesRunner
from django_workflow.worker.runners.processes import ProcessRunner
from django_workflow.worker.runners.runner import LOOP, PROCESS, THREAD, Report, Runner
from django_workflow.worker.runners.threads import ThreadRunner

logger = logging.getLogger("django_workflow.worker")


RUNNERS: Mapping[str, Callable[[int, Report], Runner]] = {
    THREAD: ThreadRunner,
    LOOP: EventLoopRunner,
    PROCESS: ProcessRunner,
}


def known() -> list[str]:
    """Return the names of all executors of this site."""
    return [*RUNNERS, *conf.EXECUTORS]


def unknown(name: str) -> str:
    """Say that this site has no executor of that name, and which one was meant."""
    meant = guess(name, known()) or f"; known: {', '.join(known())}. Add it to EXECUTORS."
    return f"There is no executor {name!r}{meant}"


def made(name: str) -> Executor:
    """Return a new executor of the site's own, as its setting says."""
    executor: Executor = _factory(name)()
    return executor


def import_factories() -> None:
    """Import what the site's executors need before a handler runs.

    An import that fails in the middle, for a handler has used up the process's descriptors, may never succeed again.
    What cannot be imported is reported when a step asks for it.
    """
    for name in conf.EXECUTORS:
        try:
            _factory(name)
        except Exception as error:
            logger.warning("executor %r cannot be made: %s", name, error)


def _factory(name: str) -> Callable[[], Any]:
    factory: Any = conf.EXECUTORS[name]
    return import_string(factory) if isinstance(factory, str) else factory


def name_for(step: StepSpec) -> str | None:
    """Return the executor that a step names, None for the worker's own.

    Where the version's is not of this process, as after a deploy that gave it up, it is the one that today's code says.
    """
    if step.executor is None or step.executor in RUNNERS or step.executor in conf.EXECUTORS:
        return step.executor
    handler = registry.handler(step.handler)
    return (handler.executor if handler is not None else None) or step.executor


def is_known(step: StepSpec) -> bool:
    """Say whether this process has the executor of a step, or itself declares it there: then its settings are wrong."""
    if step.executor is None or name_for(step) in known():
        return True
    handler = registry.handler(step.handler)
    return handler is not None and handler.executor == step.executor


class Runners:
    """The runners of one worker, made when a step first asks for one."""

    def __init__(self, concurrency: int, default: str, report: Report) -> None:
        self._concurrency = concurrency
        self._default = default
        self._report = report
        self._made: dict[str, Runner] = {}
        #: Those that hand jobs to executors of the site's own.
        self._foreign: dict[str, FuturesRunner] = {}
        import_factories()

    def submit(self, job: Job) -> None:
        """Hand a job to the runner its step names."""
        name = name_for(job.task.step) or self._default
        if job.is_atomic:
            name = THREAD  # handler and settle share this process's transaction
        elif name in (THREAD, LOOP):
            name = LOOP if job.handler.is_async else THREAD
        try:
            self._runner(name).submit(job)
        except BaseException as error:
            # the attempt fails and the worker goes on; an executor that broke is made anew for the next one
            logger.exception("executor %r cannot be used", name, extra=log_fields(job.task))
            broken = self._foreign.pop(name, None)
            if broken is not None:
                broken.stop()
            job.begin()
            self._report(job, invoke.conclude_error(job, error))

    def foreign(self, step: StepSpec) -> str | None:
        """Return the executor of the site's own that a step is handed to; None for those of this worker."""
        if not conf.EXECUTORS:
            return None
        handler = registry.handler(step.handler)
        name = name_for(step) or self._default
        is_atomic = step.atomic or (handler is not None and handler.atomic)
        return name if name in conf.EXECUTORS and name not in RUNNERS and not is_atomic else None

    def slots(self, name: str) -> int:
        """Return how many jobs an executor of the site's own wants; one that cannot be made fails what it is given."""
        try:
            runner = self._runner_of(name)
        except BaseException as error:
            leave_to_operator(error)
            return self._concurrency
        try:
            return int(runner.slots())
        except BaseException as error:
            leave_to_operator(error)
            logger.exception("executor %r does not say how many jobs it wants", name)
            return 0

    def is_fenced(self, name: str) -> bool:
        """Say whether what an executor of the site's own is given begins once for each attempt."""
        return name in self._foreign and self._foreign[name].is_fenced

    def stop(self) -> None:
        """Stop all runners."""
        for runner in self._all():
            runner.stop()

    def join(self, timeout: float) -> None:
        """Wait for the end of what was stopped."""
        for runner in self._all():
            runner.join(timeout)

    def is_lagging(self, seconds: float) -> bool:
        """Say whether a handler blocks what runs the others."""
        return any(runner.is_lagging(seconds) for runner in self._all())

    def _all(self) -> list[Runner]:
        return [*self._made.values(), *self._foreign.values()]

    def _runner(self, name: str) -> Runner:
        if name not in RUNNERS:
            return self._runner_of(name)
        if name not in self._made:
            self._made[name] = RUNNERS[name](self._concurrency, self._report)
        return self._made[name]

    def _runner_of(self, name: str) -> FuturesRunner:
        """Return the runner of an executor of the site's own."""
        if name not in self._foreign:
            if name not in conf.EXECUTORS:
                raise UnregisteredHandler(unknown(name))
            self._foreign[name] = FuturesRunner(name, made(name), self._report, self._concurrency)
        return self._foreign[name]
