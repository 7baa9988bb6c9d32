"""What only one process may do: send what is due, end what is overdue, repair, prune."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.engine import arrivals, start, timers
from django_workflow.engine.pausing import pause_with_flow

logger = logging.getLogger("django_workflow.keeper")

#: The advisory lock of the one keeper: "django_workflow" as a number.
LOCK = 0x646A5F776B666C
TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
#: Seconds between two tries to become the keeper, and between two rounds of repair.
CANDIDATE_EVERY = 10.0
REPAIR_EVERY = 30.0


class Keeper:
    """A thread with a connection of its own; it works while it holds the keeper's lock."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="django_workflow-keeper", daemon=True)
        self._is_leader = False
        self._repair_at = time.monotonic() + REPAIR_EVERY
        self._reconciled: UUID | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the lock goes with the connection."""
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        db.serve_worker()
        try:
            while not self._stopping.is_set():
                try:
                    nap = self.round()
                except BaseException:
                    # the next round begins anew, on a new connection; leases and due times are rows
                    logger.warning("a round of the keeper failed", exc_info=True)
                    self._is_leader, nap = False, 1.0
                    with suppress(Exception):
                        db.close()
                self._stopping.wait(nap)
        finally:
            db.close()

    def round(self) -> float:
        """Do what is due; return the seconds until the next round."""
        if not self._is_leader:
            self._is_leader = bool(db.rows(TRY_LOCK, [LOCK])[0][0])
            if not self._is_leader:
                return CANDIDATE_EVERY
        due = timers.what_is_due()
        duties = (
            (due.tasks, timers.send_due_tasks),
            (due.runs, start.begin_due),
            (due.deadlines, timers.end_overdue_runs),
            (due.pauses, pause_with_flow),
            (due.arrivals, arrivals.arrive_due),
            (time.monotonic() >= self._repair_at, self._repair),
        )
        if sum(_attempted(duty) for is_due, duty in duties if is_due):
            return 0.0  # there may be more; what is due but held by somebody waits for the next round
        poll = conf.POLL_INTERVAL.total_seconds()
        return poll if due.seconds_to_next is None else min(poll, max(0.0, due.seconds_to_next))

    def _repair(self) -> int:
        """One batch of repair: lost local runs, lost messages, old runs; it is nothing that others wait for."""
        self._repair_at = time.monotonic() + REPAIR_EVERY
        timers.end_lost_local_runs()
        self._reconciled = timers.reconcile(self._reconciled)
        pruned = timers.prune(conf.RETENTION) if conf.RETENTION is not None else 0
        more = self._reconciled is not None or pruned >= timers.BATCH
        self._repair_at = time.monotonic() + (1.0 if more else REPAIR_EVERY)
        return 0


def _attempted(duty: Callable[[], int]) -> int:
    """Do a duty; return how much was done. One that is refused must not keep the others waiting for ever."""
    try:
        return duty()
    except Exception as error:
        if db.is_of_connection(error):
            raise  # and so one of all duties
        logger.exception("a duty of the keeper failed", extra={"duty": duty.__name__})
        return 0
