"""What only one process may do: send what is due, end what is overdue, repair, prune."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from uuid import UUID

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.engine.due import (
    agenda,
    arrivals,
    deadlines,
    delayed_tasks,
    duty,
    lost_local_runs,
    lost_messages,
    scheduled_runs,
)
from django_workflow.engine.due.leadership import Leadership
from django_workflow.engine.removal import retention
from django_workflow.engine.verbs.pause import pause_with_flow
from django_workflow.events import renumbering
from django_workflow.worker.loop import Loop
from django_workflow.worker.outage import Outage

#: Seconds after which another process leads when the keeper was not heard of.
TERM = 10.0
#: Seconds between two tries to become the keeper, and between two rounds of repair.
CANDIDATE_EVERY = 5.0
REPAIR_EVERY = 30.0
ANSWERS = "SELECT 1"


class Keeper(Loop):
    """Works while it leads; one process leads."""

    name = "keeper"
    logger = logging.getLogger("django_workflow.keeper")

    def __init__(self, outage: Outage | None = None) -> None:
        super().__init__(outage)
        self._leadership = Leadership("keeper", TERM)
        self._repair_at = 0.0
        self._reconciled: UUID | None = None

    def recover(self) -> None:
        """Ask the database anew who leads; leases and due times are rows."""
        self._leadership.doubt()

    def finish(self) -> None:
        """Let another process lead."""
        try:
            self._leadership.resign()
        except Exception as error:
            self.logger.info("the keeper's term ends by itself: %s", error)

    def round(self) -> float:
        """Do what is due; return the seconds until the next round."""
        was_leading = self._leadership.is_held
        if not self._leadership.hold():
            return CANDIDATE_EVERY
        if not was_leading:
            # another process led before, or none for long: the database may have been restored meanwhile
            self._repair_at = 0.0
            _attempted(renumbering.repair)
        due = agenda.what_is_due()
        duties = (
            (due.tasks, delayed_tasks.send_due_tasks),
            (due.runs, scheduled_runs.begin_due),
            (due.deadlines, deadlines.end_overdue_runs),
            (due.pauses, pause_with_flow),
            (due.arrivals, arrivals.arrive_due),
        )
        done = sum(_attempted(duty) for is_due, duty in duties if is_due)
        if time.monotonic() >= self._repair_at:
            self._repair()
        if done:
            return 0.0  # there may be more; what is due but held by somebody waits for the next round
        poll = conf.POLL_INTERVAL.total_seconds()
        return poll if due.seconds_to_next is None else min(poll, max(0.0, due.seconds_to_next))

    def _repair(self) -> None:
        """One batch of repair: it is nothing that others wait for."""
        self._repair_at = time.monotonic() + REPAIR_EVERY
        repairs = (lost_messages.restore_queues, lost_local_runs.end_lost_local_runs, self._reconcile, _prune)
        if sum(_attempted(repair) for repair in repairs):
            self._repair_at = time.monotonic() + 1.0  # there is more

    def _reconcile(self) -> int:
        self._reconciled = lost_messages.reconcile(self._reconciled)
        return int(self._reconciled is not None)


def _prune() -> int:
    """Delete a batch of old runs; return whether there are more."""
    return 0 if conf.RETENTION is None else int(retention.prune(conf.RETENTION) >= duty.BATCH)


def _attempted(duty: Callable[[], int]) -> int:
    """Do a duty; return how much was done. One that is refused must not keep the others waiting for ever."""
    try:
        return duty()
    except Exception as error:
        if db.is_of_connection(error):
            db.close()
            db.rows(ANSWERS)  # raises where the database is away, and with it all duties
        Keeper.logger.exception("a duty of the keeper failed", extra={"duty": duty.__name__})
        return 0
