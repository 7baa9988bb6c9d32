"""Where the tasks of a run stand, counted again only now and then where counting takes long.

No index could tell without making every task's life dearer, so a large map is counted row by row. Those who look at
it share one count in their process, and the answer tells their pages when to look again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

#: Tasks of open activations, and seconds, that may be counted each time: a busy server makes no run a large one.
FEW: Final = 1_000
SHORT: Final = 0.02
#: A count is good for so many times as long as it took, and for at most so many seconds.
SHARE: Final = 40
LONGEST: Final = 15.0


@dataclass(frozen=True, slots=True)
class Tally:
    """How many tasks of a step's open activations are in which status; held ones by reason, delayed ones are queued.

    due_at: when the first of the delayed ones is due.
    """

    queued: int = 0
    delayed: int = 0
    due_at: datetime | None = None
    parallel: int = 0
    paused: int = 0
    running: int = 0
    suspended: int = 0


NONE: Final = Tally()
#: A tally's columns, of the tasks that a statement finds.
COUNTED: Final = """
    count(*) FILTER (WHERE status = 'queued') AS queued,
    count(*) FILTER (WHERE status = 'queued' AND due_at > clock_timestamp()) AS delayed,
    min(due_at) FILTER (WHERE status = 'queued' AND due_at > clock_timestamp()) AS due_at,
    count(*) FILTER (WHERE status = 'held' AND hold_reason = 'parallel') AS parallel,
    count(*) FILTER (WHERE status = 'held' AND hold_reason = 'paused') AS paused,
    count(*) FILTER (WHERE status = 'running') AS running,
    count(*) FILTER (WHERE status = 'suspended') AS suspended
"""


@dataclass(frozen=True, slots=True)
class _Count:
    by_step: Mapping[str, Tally]
    good_until: float


class Tallies:
    """Counts of this process that took long, by run."""

    def __init__(self) -> None:
        self._counts: dict[UUID, _Count] = {}

    def of(self, run_id: UUID) -> Mapping[str, Tally] | None:
        """Return a run's count by step, if there is one that is still good."""
        count = self._counts.get(run_id)
        return count.by_step if count is not None and count.good_until > time.monotonic() else None

    def seconds_left(self, run_id: UUID) -> float:
        """Return for how long a run's count is still good; 0 where it is counted each time."""
        count = self._counts.get(run_id)
        return max(0.0, count.good_until - time.monotonic()) if count is not None else 0.0

    def keep(self, run_id: UUID, by_step: Mapping[str, Tally], tasks: int, seconds: float) -> None:
        """Remember a count of so many tasks that took so many seconds, if both are much."""
        if tasks <= FEW or seconds < SHORT:
            return
        now = time.monotonic()
        kept = {key: count for key, count in self._counts.items() if count.good_until > now}
        self._counts = {**kept, run_id: _Count(by_step, now + min(LONGEST, SHARE * seconds))}


tallies = Tallies()
