"""The outcomes that a worker has to settle, and the batches in which it does."""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from math import inf

from django_workflow import db
from django_workflow.engine.settling.settle import PATIENCE_MS, Settled
from django_workflow.engine.tasks.claimed import OpenClaim, log_fields
from django_workflow.engine.tasks.handoff import Taker
from django_workflow.engine.tasks.outcome import Outcome

logger = logging.getLogger("django_workflow.worker")

#: Seconds after which outcomes are settled that were left.
AGAIN = 0.02
#: Seconds until an outcome that was refused alone is tried again: they double up to the second number.
RETRIES = (0.1, 10.0)

#: A run held by somebody else is waited for once its outcome is so old.
STUCK_AFTER = 1.0
#: Least time between two such waits: all other runs stand still meanwhile.
WAIT_EVERY = 2.0


class Unsettleable(Exception):
    """An outcome that cannot be settled, not even as a failure; the worker has forgotten it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.task.id)
        self.outcome = outcome


@dataclass(slots=True, eq=False)
class Batch:
    """Outcomes that are settled together, and what came of it."""

    outcomes: list[Outcome]
    #: Milliseconds for which a run is waited for that somebody else holds; None skips it.
    wait_ms: int | None = None
    #: Whether its outcomes were refused before.
    is_aside: bool = False
    #: Who takes the tasks that it makes.
    taker: Taker | None = None
    #: What the taker took, should the answer be lost.
    opened: list[OpenClaim] = field(default_factory=list)
    #: When the settle began, in monotonic seconds.
    begun_at: float = 0.0
    settled: Settled = field(default_factory=Settled)
    error: BaseException | None = None

    @property
    def is_new(self) -> bool:
        """Whether these are outcomes like most, and no exception to the order."""
        return self.wait_ms is None and not self.is_aside


@dataclass(slots=True)
class _Aside:
    """The outcomes of one attempt, the first of which was refused for a reason that is not its own."""

    outcomes: list[Outcome]
    due_at: float
    nap: float = field(default=RETRIES[0])

    def put_off(self) -> None:
        """Wait longer until the next try."""
        self.nap = min(RETRIES[1], 2 * self.nap)
        self.due_at = time.monotonic() + self.nap


class UnsettledOutcomes:
    """Outcomes that are to be settled, oldest first; `end` has to follow each batch before the next one is asked for.

    Where PostgreSQL cancels a settle or cannot do it now, the next one takes half as many outcomes: a smaller one
    takes less time, and the culprit is found. One that is refused alone is put aside, to be tried again by itself.
    """

    def __init__(self) -> None:
        #: How many outcomes no settle has tried yet.
        self.untried = 0
        self._outcomes: list[Outcome] = []
        self._aside: dict[tuple[int, int], _Aside] = {}
        self._most: int | None = None
        self._wait_again_at = 0.0
        self._kinds = deque((self._new, self._stuck, self._put_aside))

    def __len__(self) -> int:
        return len(self._outcomes) + sum(len(aside.outcomes) for aside in self._aside.values())

    def add(self, outcome: Outcome) -> None:
        """Add an outcome behind others of its attempt: the first one counts."""
        self.untried += 1
        aside = self._aside.get(outcome.task.fence)
        (self._outcomes if aside is None else aside.outcomes).append(outcome)

    def due_at(self) -> float:
        """Return when to settle again, in monotonic seconds; infinity where nothing is left."""
        if self._outcomes:
            return time.monotonic() + AGAIN
        return min((aside.due_at for aside in self._aside.values()), default=inf)

    def hurry(self) -> None:
        """Take back what was put aside: there is no later."""
        for aside in self._aside.values():
            self._outcomes += aside.outcomes
        self._aside.clear()

    def next_batch(self) -> Batch | None:
        """Return what to settle next: in turn what is new, a run that somebody holds, and what was put aside."""
        for _ in range(len(self._kinds)):
            self._kinds.rotate(-1)
            batch = self._kinds[-1]()
            if batch is not None:
                return batch
        return None

    def end(self, batch: Batch) -> None:
        """Take back what a batch has left.

        Raises the batch's error where it is the connection's or of no single outcome, and everything is as before the
        batch; `Unsettleable` for a single outcome that was refused for its own sake.
        """
        error = batch.error
        if batch.is_aside:
            self._end_aside(batch)
        elif error is None:
            if self._most is not None:
                self._most = 2 * self._most if self._outcomes else None
            self._outcomes = batch.settled.left + self._outcomes
        elif not isinstance(error, Exception) or db.is_of_connection(error):
            self._outcomes = batch.outcomes + self._outcomes
            raise error
        elif db.is_for_good(error):
            if len(batch.outcomes) == 1:
                raise Unsettleable(batch.outcomes[0]) from error
            self._outcomes = batch.outcomes + self._outcomes
            raise error
        elif batch.wait_ms is not None:
            self._outcomes += batch.outcomes  # the next time it is another run's turn
        else:
            self._try_less(batch.outcomes, error)

    def _new(self) -> Batch | None:
        """Return the oldest outcomes; those of runs that somebody else holds come back."""
        outcomes, self._outcomes = self._outcomes[: self._most], self._outcomes[self._most or len(self._outcomes) :]
        self.untried = max(0, self.untried - len(outcomes))
        return Batch(outcomes) if outcomes else None

    def _stuck(self) -> Batch | None:
        """Return the outcomes of one run that somebody holds: a short wait, so that one request never stalls others."""
        now = time.monotonic()
        for item in self._outcomes:
            item.ended_at = item.ended_at or now
        stuck = next((item for item in self._outcomes if now - (item.ended_at or now) > STUCK_AFTER), None)
        if stuck is None or now < self._wait_again_at:
            return None
        self._wait_again_at = now + WAIT_EVERY
        its = [item for item in self._outcomes if item.task.run_id == stuck.task.run_id]
        self._outcomes = [item for item in self._outcomes if item.task.run_id != stuck.task.run_id]
        return Batch(its, wait_ms=PATIENCE_MS)

    def _put_aside(self) -> Batch | None:
        """Return what was refused alone, when it is its turn; what else comes of its attempt joins it meanwhile."""
        now = time.monotonic()
        aside = next((aside for aside in self._aside.values() if aside.due_at <= now), None)
        return Batch(list(aside.outcomes), is_aside=True) if aside is not None else None

    def _end_aside(self, batch: Batch) -> None:
        """Keep what was refused again for later: it waits longer after each try."""
        error, first = batch.error, batch.outcomes[0]
        aside = self._aside.pop(first.task.fence)
        if isinstance(error, Exception) and db.is_for_good(error):
            raise Unsettleable(first) from error
        if error is None:
            self._outcomes = batch.settled.left + aside.outcomes[len(batch.outcomes) :] + self._outcomes
            return
        aside.put_off()
        self._aside[first.task.fence] = aside  # behind the others
        if not isinstance(error, Exception) or db.is_of_connection(error):
            raise error
        fields = log_fields(first.task)
        logger.warning("an outcome cannot be settled now and is tried again: %s", error, extra=fields)

    def _try_less(self, outcomes: list[Outcome], error: Exception) -> None:
        """Take fewer outcomes the next time; a single one is put aside, with what came later of its attempt."""
        logger.warning("a settle of %d outcomes is tried again: %s", len(outcomes), error)
        self._most = max(1, len(outcomes) // 2)
        if len(outcomes) > 1:
            self._outcomes = outcomes + self._outcomes
            return
        fence = outcomes[0].task.fence
        its = [item for item in self._outcomes if item.task.fence == fence]
        self._outcomes = [item for item in self._outcomes if item.task.fence != fence]
        self._aside[fence] = _Aside(outcomes + its, time.monotonic() + RETRIES[0])
