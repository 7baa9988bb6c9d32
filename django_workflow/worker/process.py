"""One worker process: its threads, its signals, its life from start to a clean end."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

from django_workflow import db
from django_workflow.engine import publish
from django_workflow.worker import registration
from django_workflow.worker.dispatcher import Dispatcher
from django_workflow.worker.ear import Ear
from django_workflow.worker.heart import Heart
from django_workflow.worker.keeper import Keeper
from django_workflow.worker.logs import LogWriter
from django_workflow.worker.options import WorkerOptions

logger = logging.getLogger("django_workflow.worker")


class WorkerProcess:
    """Runs one dispatcher with its heart, ear, keeper and log writer until it is told to stop."""

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options
        publish.publish_declared()
        publish.ensure_queues(options.queues)
        self.dispatcher = Dispatcher(options)

    def run(self) -> None:
        """Work; returns after a clean stop."""
        db.serve_worker()
        # here and not before: who sees the row may stop this process, and must find it listening to signals
        worker_id = self.dispatcher.worker_id = registration.register(self.options)
        helpers: list[Heart | Ear | Keeper | LogWriter] = [
            *(Heart(self.dispatcher), Ear(self.dispatcher), Keeper(), LogWriter())
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
            db.close()

    def stop(self) -> None:
        """Stop within the grace time; a second call stops at once."""
        if self.dispatcher.is_stopping:
            self.dispatcher.stop_now()
        self.dispatcher.stop()

    def stop_on_signals(self, also: Callable[[], None] | None = None) -> None:
        """Let SIGTERM and SIGINT stop this process; only the main thread may call this."""
        if threading.current_thread() is not threading.main_thread():
            return
        # a handler runs between any two instructions of the main thread, which may just hold the lock of the
        # very event that a stop sets; putting into a SimpleQueue is safe there, and a thread does the rest
        received: SimpleQueue[int] = SimpleQueue()

        def obey() -> None:
            while True:
                received.get()
                self.stop()
                if also is not None:
                    also()

        def handle(number: int, frame: FrameType | None) -> None:
            received.put(number)

        threading.Thread(target=obey, name="django_workflow-signals", daemon=True).start()
        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)
