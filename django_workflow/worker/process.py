"""One worker process: its threads, its signals, its life from start to a clean end."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.engine.reporting import failure_log
from django_workflow.engine.stored import versions
from django_workflow.events import renumbering
from django_workflow.worker import registration
from django_workflow.worker.dispatching.dispatcher import Dispatcher
from django_workflow.worker.exit_codes import INTERRUPTED, STALLED
from django_workflow.worker.logs import own_records
from django_workflow.worker.logs.writer import LogWriter
from django_workflow.worker.loop import Loop
from django_workflow.worker.loops.announcer import Announcer
from django_workflow.worker.loops.heartbeats import Heartbeats
from django_workflow.worker.loops.keeper import Keeper
from django_workflow.worker.loops.listener import Listener
from django_workflow.worker.options import WorkerOptions

logger = logging.getLogger("django_workflow.worker")

#: Seconds for which a process lives on after the grace time, at most, and for which it writes what it logged, or
#: where its threads are.
LAST_WORDS = 30.0
DUMP = 5.0
STOPS = (signal.SIGTERM, signal.SIGINT)
#: How many objects are made until Python looks for cycles among them; a job makes hundreds, hardly ever in a cycle.
COLLECT_AFTER = 10_000


class WorkerProcess:
    """Runs one dispatcher with its heartbeats, listener, keeper and log writer until it is told to stop."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        # before anything is written here: what another cluster wrote comes before it
        renumbering.repair()
        versions.publish_declared()
        versions.ensure_queues(options.queues)
        self.dispatcher = Dispatcher(options)
        self.heartbeats = Heartbeats(self.dispatcher, self._end_stalled)
        #: Whether the process may be ended: its main thread does nothing but this work.
        self._may_end = False
        self._has_ended = False
        #: The signal that began the stop, if one did.
        self._stopped_by: int | None = None
        #: Numbers of signals; None when they are not obeyed any more.
        self._received: SimpleQueue[int | None] = SimpleQueue()

    def run(self) -> None:
        """Work; returns after a clean stop."""
        own_records.queue.start()
        failure_log.folding.start()
        db.serve_worker()
        try:
            self._run()
            self._has_ended = True
        finally:
            # also where it never began: this thread goes on as it was
            db.close()
            db.end_worker()
            failure_log.folding.stop()
            own_records.queue.stop()

    def _run(self) -> None:
        if self._may_end:
            collect_less()
        # here and not before: who sees the row may stop this process, and must find it listening to signals
        worker_id = self.dispatcher.worker_id = registration.register(self.options)
        outage = self.dispatcher.outage
        helpers: list[Loop | Announcer] = [
            *(self.heartbeats, Listener(self.dispatcher), Keeper(outage), LogWriter(outage=outage)),
            Announcer(),  # the last: others have to tell
        ]
        for helper in helpers:
            helper.start()
        logger.info("worker %s serves %s", worker_id, ", ".join(self.options.queues))
        try:
            self.dispatcher.run()
        finally:
            for helper in helpers:
                helper.stop()
            try:
                registration.tell_stopped(worker_id)
            except Exception as error:
                logger.warning("could not record that this worker stopped: %s", error)

    def stop(self) -> None:
        """Stop within the grace time; a second call stops at once."""
        if self.dispatcher.is_stopping:
            self.dispatcher.stop_now()
        self.dispatcher.stop()

    @property
    def exit_code(self) -> int:
        """What a shell is told of a clean end: that Ctrl-C asked for it, else 0."""
        return INTERRUPTED if self._stopped_by == signal.SIGINT else 0

    @contextmanager
    def stopped_by_signals(self, *, is_own: bool) -> Iterator[None]:
        """Meanwhile, let SIGTERM and SIGINT stop this process; in any other thread than the main one, change nothing.

        The process ends some seconds after the grace time, whatever holds it: a lock, a handler's thread.
        is_own: it is the worker's own and ends with it, so all of that holds after the work, too. Any other process
        goes on as it was before.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        # a handler runs between any two instructions of the main thread, which may just hold the lock of the
        # very event that a stop sets; putting into a SimpleQueue is safe there, and a thread does the rest
        def handle(number: int, frame: FrameType | None) -> None:
            self._received.put(number)

        self._may_end = True
        if is_own:
            # Python itself sets handlers back while it ends: a signal then would be told as the cause of the end
            atexit.register(_ignore_signals)
        obey = threading.Thread(target=self._obey, args=(is_own,), name="django_workflow-signals", daemon=True)
        obey.start()
        before = {number: signal.signal(number, handle) for number in STOPS}
        try:
            yield
        finally:
            self._received.put(None)
            if not is_own:
                self._may_end = False
                for number, previous in before.items():
                    signal.signal(number, previous or signal.SIG_DFL)
                obey.join()

    def _obey(self, is_own: bool) -> None:  # noqa: FBT001  an argument of a thread
        deadline: float | None = None
        grace = self.options.grace.total_seconds()
        while True:
            try:
                number = self._received.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except Empty:
                self._end(self.exit_code if self._has_ended else STALLED)
                return
            if number is None and not is_own:
                return
            is_first = number is not None and not self.dispatcher.is_stopping
            last = time.monotonic() + min(LAST_WORDS, conf.STALL_LIMIT.total_seconds()) + (grace if is_first else 0)
            deadline = last if deadline is None else min(deadline, last)
            if is_first:
                self._stopped_by = number
            if number is not None:
                self.stop()

    def _end_stalled(self) -> None:
        self._end(STALLED)

    def _end(self, code: int) -> None:
        """End this process now, whatever holds it; one whose loop stands still says first where its threads are."""
        if not self._may_end:
            return
        if code == STALLED:
            own_records.queue.flush(DUMP)
            with suppress(Exception):
                # a thread: where nobody reads what is written here, that may be what all others wait for
                dump = threading.Thread(target=faulthandler.dump_traceback, args=(sys.__stderr__,), daemon=True)
                dump.start()
                dump.join(DUMP)
        if self._may_end:
            os._exit(code)


def _ignore_signals() -> None:
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def collect_less() -> None:
    """Let the garbage collector look less often at what jobs make, and never again at what was there before.

    Every thread stands still while it looks, for 40 ms where it looks at all objects of a site.
    """
    first, second, third = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(max(first, COLLECT_AFTER), second, third)
