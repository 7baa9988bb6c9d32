"""What a worker claims: how much there is room for, from which queues, and what becomes of each claim."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.elements import StepSpec
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim
from django_workflow.engine.tasks.handoff import Taker
from django_workflow.worker.dispatching.lost_claims import LostClaims
from django_workflow.worker.dispatching.notices import Notices
from django_workflow.worker.dispatching.queue_reader import QueueReader
from django_workflow.worker.dispatching.room import Room
from django_workflow.worker.dispatching.unsettled import Batch
from django_workflow.worker.options import Tally, WorkerOptions

logger = logging.getLogger("django_workflow.worker")

#: Seconds that a claim waits for a settle, which flushes as well, before it is flushed by itself.
FLUSH_AFTER = 0.001


class Intake:
    """Claims tasks of the worker's queues.

    accept: takes claimed tasks in hand.
    """

    def __init__(
        self,
        options: WorkerOptions,
        tally: Tally,
        room: Room,
        notices: Notices,
        accept: Callable[[Iterable[ClaimedTask]], None],
    ) -> None:
        self._lease = options.lease.total_seconds()
        self._tally = tally
        self._room = room
        self._notices = notices
        self._accept = accept
        self.readers = {name: QueueReader(name) for name in options.queues}
        #: When all queues are read again, in monotonic seconds.
        self.next_poll = 0.0
        #: When what was claimed is flushed, unless a settle has done so.
        self._flush_at: float | None = None
        #: Claims whose tasks are not in hand yet, and those of earlier rounds whose answer was lost.
        self._opened: list[OpenClaim] = []
        self.lost = LostClaims(self._lease)

    def claim(self, worker_id: int | None) -> None:
        """Claim what there is room for; a queue that cannot be read is read again at the next poll."""
        now = time.monotonic()
        if now >= self.next_poll:
            self.next_poll = now + conf.POLL_INTERVAL.total_seconds()
            for reader in self.readers.values():
                reader.may_hold_more = True
        for reader in self.readers.values():
            limit = self._room.of(reader.name)
            if limit <= 0 or reader.due_at() > now:
                continue
            slots = self._room.slots()
            try:
                tasks = reader.claim(limit, slots=slots, lease=self._lease, worker_id=worker_id, opened=self._opened)
            except Exception as error:
                if db.is_of_connection(error):
                    raise
                logger.warning("queue %s cannot be read: %s", reader.name, db.for_logs(error))
                self.close()
                continue
            self._tally.last_claim_at = time.monotonic()
            self._tally.claimed += len(tasks)
            if tasks:
                self._flush_at = self._flush_at or self._tally.last_claim_at + FLUSH_AFTER
            if reader.may_hold_more:
                self._notices.share(reader.name)
            self._accept(tasks)
            self._opened.clear()

    def has_claims(self) -> bool:
        """Say whether a queue may hold tasks for which there is room."""
        return any(reader.may_hold_more and self._room.of(reader.name) > 0 for reader in self.readers.values())

    def taker(self, worker_id: int | None, batch: Batch, knows: Callable[[FlowSpec, StepSpec], bool]) -> Taker | None:
        """Let this worker take the successors of a batch at once, where it has free slots and its queues are empty."""
        slots = self._room.slots()
        queues = frozenset(reader.name for reader in self.readers.values() if not reader.may_hold_more)
        if not slots or not queues:
            return None
        return Taker(worker_id, self._lease, queues, slots, knows, opened=batch.opened)

    def due_at(self) -> float:
        """Return when there is something to do, in monotonic seconds."""
        due = [self.next_poll, self.lost.due_at()]
        if self._flush_at is not None:
            due.append(self._flush_at)
        return min(due)

    def read_at(self) -> Iterable[float]:
        """Return when the queues are read for which there is room."""
        return [reader.due_at() for reader in self.readers.values() if self._room.of(reader.name) > 0]

    def flush(self) -> None:
        """Let the disk have what was claimed: handlers do not wait for that, and quick ones end in a settle first."""
        if self._flush_at is not None and self._flush_at <= time.monotonic():
            db.flush()
            self._flush_at = None

    def note_settle(self, batch: Batch) -> None:
        """Note that a settle has waited for the disk, which has all that was committed before as well."""
        if batch.settled.done and batch.begun_at >= self._tally.last_claim_at:
            self._flush_at = None

    def open(self, claims: Iterable[OpenClaim]) -> None:
        """Note what a settle may have taken; it is not in hand yet."""
        self._opened += claims

    def close(self, taken: Iterable[ClaimedTask] = ()) -> None:
        """Note that these tasks are in hand; what else this round's claims took has to be looked for."""
        if self._opened:
            leases = {task.lease_id for task in taken}
            self.lost.add(item for item in self._opened if item.lease_id not in leases)
            self._opened.clear()
