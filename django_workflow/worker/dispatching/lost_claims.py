"""Claims that a worker made and does not know: the connection was cut before it heard what they took."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from django_workflow.engine.tasks import open_claims
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim

#: Seconds between two looks for what a claim took: a server may commit it long after the connection was cut.
LOOK_EVERY = 1.0


@dataclass(slots=True)
class _Forgotten:
    """until: when its lease is over, in monotonic seconds: whoever claims its tasks then knows what to do."""

    claim: OpenClaim
    until: float
    look_at: float = 0.0


class LostClaims:
    """The claims whose tasks this worker has not taken in hand; it hands back what carries their leases.

    lease: seconds.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._claims: list[_Forgotten] = []

    def add(self, claims: Iterable[OpenClaim]) -> None:
        """Look for what these claims took; the first look is at once."""
        until = time.monotonic() + self._lease
        self._claims += [_Forgotten(claim, until) for claim in claims if claim.task_ids]

    def due_at(self) -> float:
        """Return when to look, in monotonic seconds; infinity where nothing is forgotten."""
        return min((item.look_at for item in self._claims), default=inf)

    def is_due(self) -> bool:
        """Say whether it is time to look."""
        return bool(self._claims) and self.due_at() <= time.monotonic()

    def has_unseen(self) -> bool:
        """Say whether nobody has looked yet for what some claim took."""
        return any(not item.look_at for item in self._claims)

    def look(self) -> list[ClaimedTask]:
        """Return the tasks that carry the leases of claims that are due."""
        found: list[ClaimedTask] = []
        now = time.monotonic()
        for item in list(self._claims):
            if item.look_at > now:
                continue
            tasks = open_claims.carriers(item.claim)
            item.look_at = now + LOOK_EVERY
            ids = {task.id for task in tasks}
            item.claim.task_ids = [key for key in item.claim.task_ids if key not in ids]
            if not item.claim.task_ids or item.until <= now:
                self._claims.remove(item)
            found += tasks
        return found
