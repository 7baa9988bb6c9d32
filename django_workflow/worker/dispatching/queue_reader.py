"""A queue as a worker reads it: whether it may hold more, and where reading goes on."""

from __future__ import annotations

import time
from math import inf
from typing import Any

from django_workflow import queue
from django_workflow.conf import conf
from django_workflow.engine.tasks import claim
from django_workflow.engine.tasks.claimed import ClaimedTask

#: Reading a queue from its front may take this share of the time.
FRONT_SHARE = 0.05


class QueueReader:
    """One queue that a worker serves.

    As long as any transaction in the database is open that began before, a dump for example, PostgreSQL keeps the
    messages that were deleted since, and who reads from the front walks over all of them. So that is done as often as
    it is cheap, and once in each `POLL_INTERVAL` whatever it costs; in between reading goes on behind the last message.
    What comes back in front of it (a retry, the message of a transaction that committed late) waits so long.

    may_hold_more: whether there may be messages that nobody has looked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.may_hold_more = True
        self._last_message = self._read_count = 0
        self._front_at = 0.0
        self._has_passed = False

    def due_at(self) -> float:
        """Return when to read it, in monotonic seconds; infinity where only a notification or a poll will tell."""
        if self.may_hold_more:
            return 0.0
        return self._front_at if self._has_passed else inf

    def claim(self, limit: int, **how: Any) -> list[ClaimedTask]:
        """Claim up to `limit` of its tasks, as `claim` does."""
        # before the claim: what is heard from here on may be of messages that it does not see
        self.may_hold_more = False
        tasks = claim.claim(self.name, limit, read=self._read, **how)
        # as many messages as were asked for, whatever became of them: behind those that no claim can use may be others
        if self._read_count >= limit:
            self.may_hold_more = True
        return tasks

    def _read(self, name: str, lease: float, limit: int) -> list[tuple[int, int | None]]:
        began = time.monotonic()
        self._has_passed = began < self._front_at
        messages = queue.read(name, lease, limit, after=self._last_message if self._has_passed else 0)
        if not self._has_passed:
            ended = time.monotonic()
            self._front_at = ended + min((ended - began) / FRONT_SHARE, conf.POLL_INTERVAL.total_seconds())
        self._read_count = len(messages)
        if messages:
            self._last_message = messages[-1][0]
        return messages
