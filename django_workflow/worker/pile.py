"""The outcomes a worker has to settle: all at once, and those of runs that somebody else holds later."""

from __future__ import annotations

import time

from django_workflow import db
from django_workflow.engine.claim import Taker
from django_workflow.engine.outcome import Outcome
from django_workflow.engine.settle import PATIENCE_MS, Settled, settle

#: A run held by somebody else is waited for once its outcome is so old.
STUCK_AFTER = 1.0
#: Least time between two such waits: all other runs stand still meanwhile.
WAIT_EVERY = 2.0


class Unsettleable(Exception):
    """An outcome that cannot be settled, not even as a failure; the pile has forgotten it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.task.id)
        self.outcome = outcome


class Pile:
    """Outcomes that are to be settled, oldest first."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._wait_again_at = 0.0

    def __len__(self) -> int:
        return len(self._outcomes)

    def add(self, outcome: Outcome) -> None:
        """Put an outcome on the pile."""
        self._outcomes.append(outcome)

    def settle(self, taker: Taker | None) -> Settled:
        """Settle what can be settled now; outcomes of runs that somebody else holds stay.

        Raises what `engine.settle.settle` raises, and the pile is as before; `Unsettleable` for a single
        outcome that was refused for its own sake.
        """
        outcomes, self._outcomes = self._outcomes, []
        try:
            result = settle(outcomes, taker=taker)
        except Exception as error:
            if len(outcomes) == 1 and not db.is_retryable(error):
                raise Unsettleable(outcomes[0]) from error
            self._outcomes = outcomes + self._outcomes
            raise
        self._outcomes = result.left + self._outcomes
        return result

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
            if db.is_lock_timeout(error):
                self._outcomes = others + its  # the next time it is another run's turn
                return None
            raise
        self._outcomes = result.left + others
        return result
