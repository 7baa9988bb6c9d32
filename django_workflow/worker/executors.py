"""Where handlers run: threads, an event loop, child processes, or any `concurrent.futures.Executor`."""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Protocol

from django.utils.module_loading import import_string

from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import StepSpec
from django_workflow.engine.log_fields import log_fields
from django_workflow.engine.outcome import Outcome
from django_workflow.engine.settle import Settled
from django_workflow.exceptions import UnregisteredHandler
from django_workflow.spelling import guess
from django_workflow.worker import connections, invoke, remote
from django_workflow.worker.foreign import FuturesRunner
from django_workflow.worker.job import Job
from django_workflow.worker.session_watch import SessionWatch

logger = logging.getLogger("django_workflow.worker")

THREAD, LOOP, PROCESS = "thread", "async", "process"

#: Called once per job with what became of it: an outcome to settle, or a settle that is done (atomic steps).
Report = Callable[[Job, "Outcome | Settled"], None]


class Runner(Protocol):
    """Runs jobs, at most `concurrency` at once, in the order they come."""

    def submit(self, job: Job) -> None:
        """Queue a job; its result is reported, never raised."""

    def stop(self) -> None:
        """Let the threads end once they are idle; running handlers are not waited for."""


class ThreadRunner:
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


class LoopRunner:
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
        self._thread = threading.Thread(target=self._run_loop, name="django_workflow-loop", daemon=True)
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


class ProcessRunner(ThreadRunner):
    """Child processes, each fed by a thread of ours, so that a handler can be killed and may hold its GIL."""

    is_ready = False

    def __init__(self, concurrency: int, report: Report) -> None:
        super().__init__(concurrency, report)
        self._local = threading.local()
        self._children: set[remote.Child] = set()

    def run(self, job: Job) -> Outcome | Settled:
        """Run one job in this thread's child."""
        child = self._own_child()
        with child.serving(job):
            job.can_be_stopped(functools.partial(child.kill, job))
            child.wait_until_ready()
            job.ready()
            return child.perform(job)

    def _own_child(self) -> remote.Child:
        """Return this thread's child, a new one where it has ended."""
        child: remote.Child | None = getattr(self._local, "child", None)
        if child is None or not child.is_alive():
            self._close_child()
            child = self._local.child = remote.Child()
            self._children.add(child)
        return child

    def end_thread(self) -> None:
        """Close what this thread has opened."""
        self._close_child()
        super().end_thread()

    def _close_child(self) -> None:
        child: remote.Child | None = self._local.__dict__.pop("child", None)
        if child is not None:
            child.close()
            self._children.discard(child)

    def stop(self) -> None:
        """Let idle threads and all children end."""
        super().stop()
        for child in list(self._children):
            child.end()


RUNNERS: dict[str, Any] = {THREAD: ThreadRunner, LOOP: LoopRunner, PROCESS: ProcessRunner}


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
    What cannot be imported is told when a step asks for it.
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
        self._made: dict[str, Any] = {}
        import_factories()

    def submit(self, job: Job) -> None:
        """Hand a job to the runner its step names."""
        name = name_for(job.task.step) or self._default
        if job.is_atomic:
            name = THREAD  # handler and settle share this process's transaction
        elif name in (THREAD, LOOP):
            name = LOOP if job.handler.is_async else THREAD
        try:
            (self._made.get(name) or self._make(name)).submit(job)
        except BaseException as error:
            # the attempt fails and the worker goes on; an executor that broke is made anew for the next one
            logger.exception("executor %r cannot be used", name, extra=log_fields(job.task))
            if isinstance(self._made.get(name), FuturesRunner):
                self._made.pop(name).stop()
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
            runner = self._made.get(name) or self._make(name)
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
        return name in self._made and bool(self._made[name].is_fenced)

    def stop(self) -> None:
        """Stop all runners."""
        for runner in self._made.values():
            runner.stop()

    def join(self, timeout: float) -> None:
        """Wait for threads that were told to stop."""
        for runner in self._made.values():
            if hasattr(runner, "join"):
                runner.join(timeout)

    def is_lagging(self, seconds: float) -> bool:
        """Say whether the event loop is blocked."""
        return LOOP in self._made and self._made[LOOP].is_lagging(seconds)

    def _make(self, name: str) -> Any:
        if name in RUNNERS:
            runner: Any = RUNNERS[name](self._concurrency, self._report)
        elif name in conf.EXECUTORS:
            runner = FuturesRunner(name, made(name), self._report, self._concurrency)
        else:
            raise UnregisteredHandler(unknown(name))
        self._made[name] = runner
        return runner
