"""Settling the batches of a worker: by the dispatcher itself, or beside it on a thread and connection of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from django_workflow import db
from django_workflow.engine.settling.settle import settle
from django_workflow.worker.dispatching.unsettled import Batch

#: What its thread is called among those that use the database.
SETTLER = "settler"


class Settler:
    """Settles batches, one at a time.

    While a batch is settled beside it, the dispatcher claims, and handlers begin; else the worker and PostgreSQL would
    wait for each other in turn. The thread and its connection are there from the first such batch on.

    on_end: called when a batch ends that is settled beside the dispatcher.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        #: The batch that is settled beside the dispatcher, until `take_ended` returns it.
        self.in_flight: Batch | None = None
        #: How many batches were settled beside the dispatcher; it grows while the thread works.
        self.number: int | None = None
        self._count = 0
        self._on_end = on_end
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._has_ended = threading.Event()
        self._thread: threading.Thread | None = None

    def settle(self, batch: Batch) -> None:
        """Settle a batch here and now."""
        batch.begun_at = time.monotonic()
        try:
            batch.settled = settle(batch.outcomes, wait_ms=batch.wait_ms, taker=batch.taker)
        except BaseException as error:
            batch.error = error

    def settle_beside(self, batch: Batch) -> None:
        """Begin to settle a batch on the other thread."""
        self.in_flight = batch
        self._has_ended.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="django_workflow-settler", daemon=True)
            self._thread.start()
        self._batches.put(batch)

    def take_ended(self) -> Batch | None:
        """Return the batch that was settled beside the dispatcher, once it has ended."""
        if self.in_flight is None or not self._has_ended.is_set():
            return None
        batch, self.in_flight = self.in_flight, None
        return batch

    def reserved(self) -> int:
        """Return how many slots the batch in flight may fill."""
        taker = self.in_flight.taker if self.in_flight is not None else None
        return taker.slots if taker is not None else 0

    def wait(self, seconds: float) -> None:
        """Wait until the batch in flight has ended, if there is one."""
        if self.in_flight is not None:
            self._has_ended.wait(seconds)

    def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._batches.put(None)
            self._thread.join(0.5)

    def _run(self) -> None:
        db.serve_worker(by_index=True)
        try:
            while (batch := self._batches.get()) is not None:
                self._count += 1
                self.number = self._count
                self.settle(batch)
                if batch.error is not None:
                    with suppress(Exception):
                        db.close()
                self.number = None
                self._has_ended.set()
                self._on_end()
        finally:
            db.close()
