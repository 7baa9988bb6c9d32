"""The outcomes a worker has to settle: all at once, and those of runs that somebody else holds later."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from math import inf

from django_workflow import db
from django_workflow.engine.settling.settle import PATIENCE_MS, Settled, settle
from django_workflow.engine.tasks.claimed import log_fields
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
    """An outcome that cannot be settled, not even as a failure; the pile has forgotten it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.task.id)
        self.outcome = outcome


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
    """Outcomes that are to be settled, oldest first.

    Where PostgreSQL cancels a settle or cannot do it now, the next one takes half as many outcomes: a smaller one
    takes less time, and the culprit is found. One that is refused alone is put aside, to be tried again by itself.
    """

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._aside: dict[tuple[int, int], _Aside] = {}
        self._most: int | None = None
        self._wait_again_at = 0.0

    def __len__(self) -> int:
        return len(self._outcomes) + sum(len(aside.outcomes) for aside in self._aside.values())

    def add(self, outcome: Outcome) -> None:
        """Put an outcome on the pile, behind others of its attempt: the first one counts."""
        aside = self._aside.get(outcome.task.fence)
        (self._outcomes if aside is None else aside.outcomes).append(outcome)

    def due_at(self) -> float:
        """Return when to settle again, in monotonic seconds; infinity where nothing is left."""
        if self._outcomes:
            return time.monotonic() + AGAIN
        return min((aside.due_at for aside in self._aside.values()), default=inf)

    def settle(self, taker: Taker | None) -> Settled:
        """Settle what can be settled now; outcomes of runs that somebody else holds stay.

        Raises errors of the connection, and the pile is as before; `Unsettleable` for a single outcome that was
        refused for its own sake.
        """
        outcomes, rest = self._outcomes[: self._most], self._outcomes[self._most or len(self._outcomes) :]
        try:
            result = settle(outcomes, taker=taker)
        except Exception as error:
            if db.is_of_connection(error):
                raise
            if not db.is_for_good(error):
                self._try_less(outcomes, rest, error)
                return Settled()
            if len(outcomes) > 1:
                raise
            self._outcomes = rest
            raise Unsettleable(outcomes[0]) from error
        if self._most is not None:
            self._most = 2 * self._most if rest else None
        self._outcomes = result.left + rest
        return result

    def _try_less(self, outcomes: list[Outcome], rest: list[Outcome], error: Exception) -> None:
        """Take fewer outcomes the next time; a single one is put aside, with what came later of its attempt."""
        logger.warning("a settle of %d outcomes is tried again: %s", len(outcomes), error)
        self._most = max(1, len(outcomes) // 2)
        if len(outcomes) == 1:
            fence = outcomes[0].task.fence
            its = [item for item in rest if item.task.fence == fence]
            self._outcomes = [item for item in rest if item.task.fence != fence]
            self._aside[fence] = _Aside(outcomes + its, time.monotonic() + RETRIES[0])

    def settle_one_aside(self) -> Settled | None:
        """Try one of the outcomes that were refused alone, when it is its turn; it waits longer after each try."""
        now = time.monotonic()
        fence = next((fence for fence, aside in self._aside.items() if aside.due_at <= now), None)
        if fence is None:
            return None
        aside = self._aside.pop(fence)
        try:
            result = settle(aside.outcomes)
        except Exception as error:
            if db.is_for_good(error):
                raise Unsettleable(aside.outcomes[0]) from error
            aside.put_off()
            self._aside[fence] = aside  # behind the others
            if db.is_of_connection(error):
                raise
            fields = log_fields(aside.outcomes[0].task)
            logger.warning("an outcome cannot be settled now and is tried again: %s", error, extra=fields)
            return None
        self._outcomes = result.left + self._outcomes
        return result

    def hurry(self) -> None:
        """Take back what was put aside: there is no later."""
        for aside in self._aside.values():
            self._outcomes += aside.outcomes
        self._aside.clear()

    def settle_one_stuck(self) -> Settled | None:
        """Wait shortly for one run that somebody holds, so that one open request never stalls the others."""
        now = time.monotonic()
        for item in self._outcomes:
            item.ended_at = item.ended_at or now
        stuck = next((item for item in self._outcomes if now - (item.ended_at or now) > STUCK_AFTER), None)
        if stuck is None or now < self._wait_again_at:
            return None
        self._wait_again_at = now + WAIT_EVERY
        its = [item for item in self._outcomes if item.task.run_id == stuck.task.run_id]
        others = [item for item in self._outcomes if item.task.run_id != stuck.task.run_id]
        try:
            result = settle(its, wait_ms=PATIENCE_MS)
        except Exception as error:
            if not db.is_of_connection(error) and not db.is_for_good(error):
                self._outcomes = others + its  # the next time it is another run's turn
                return None
            raise
        self._outcomes = result.left + others
        return result
