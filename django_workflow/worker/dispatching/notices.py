"""What a worker notifies others of, after its own work of a round: a notification is a hint."""

from __future__ import annotations

import time
from typing import Any

from django_workflow import db
from django_workflow.notifications import notifications

#: Least time between two notifications of the same queue that holds more than this worker can take.
NOTIFY_EVERY = 0.05


class Notices:
    """Collects notifications, and sends them together."""

    def __init__(self) -> None:
        self._collected: list[tuple[str, str]] = []
        self._shared_at: dict[str, float] = {}

    def add(self, **what: Any) -> None:
        """Collect what `notifications` makes of queues, runs and cancelled runs."""
        self._collected += notifications(**what)

    def share(self, queue: str) -> None:
        """Notify other workers of a queue that holds more than this one can take."""
        now = time.monotonic()
        if now - self._shared_at.get(queue, 0.0) > NOTIFY_EVERY:
            self._shared_at[queue] = now
            self.add(queues=[queue])

    def send(self) -> None:
        """Send what was collected."""
        messages, self._collected = self._collected, []
        db.notify(messages)
