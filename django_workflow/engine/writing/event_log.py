"""Events: collected while a verb works, written with one insert, at the level the site chose."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_workflow import db
from django_workflow.conf import conf

RUN, STEP, TASK = "run", "step", "task"
LEVELS = (RUN, STEP, TASK)

EVENTS = db.Columns("e", run_id="uuid", number="int", type="text", step="text", task_id="bigint", data="text")
# the number is read in this statement: under the run's lock nobody else numbers its events, and the
# run's row is not written for it. A transaction may have got its id long before the run's lock: its
# events take the higher id of those before them, so that whoever reads by (xid, id) reads them later
INSERT_EVENTS = f"""
    INSERT INTO django_workflow_event (run_id, number, xid, type, step, task_id, data)
    SELECT e.run_id, e.number + coalesce(last.number, 0), greatest(pg_current_xact_id()::text::bigint, last.xid),
           e.type, e.step, e.task_id, e.data::jsonb
    FROM {EVENTS.numbered}
    LEFT JOIN LATERAL (
        SELECT number, xid FROM django_workflow_event x WHERE x.run_id = e.run_id ORDER BY number DESC LIMIT 1
    ) last ON true
    ORDER BY e.place
"""
# of runs that are made by the same statement
INSERT_FIRST_EVENTS = f"""
    INSERT INTO django_workflow_event (run_id, number, type, step, task_id, data)
    SELECT e.run_id, e.number, e.type, e.step, e.task_id, e.data::jsonb
    FROM {EVENTS.numbered}
    ORDER BY e.place
"""


@dataclass
class EventLog:
    """What happened in one verb, in order.

    are_first: the runs are new, so that nobody has numbered events of theirs before.
    """

    are_first: bool = False
    level: int = field(default_factory=lambda: LEVELS.index(conf.EVENT_LEVEL))
    entries: list[tuple[UUID, str, str, int | None, str | None]] = field(default_factory=list)

    def run(self, run_id: UUID, kind: str, data: dict[str, Any] | None = None) -> None:
        """Something happened to the run as a whole; always stored."""
        self.entries.append((run_id, kind, "", None, json.dumps(data) if data else None))

    def step(self, run_id: UUID, kind: str, step: str, data: dict[str, Any] | None = None) -> None:
        """Something happened to a step; stored from level "step"."""
        if self.level >= 1:
            self.entries.append((run_id, kind, step, None, json.dumps(data) if data else None))

    def task(self, run_id: UUID, kind: str, step: str, task_id: int, data: dict[str, Any] | None = None) -> None:
        """Something happened to a task; stored at level "task"."""
        if self.level >= 2:
            self.entries.append((run_id, kind, step, task_id, json.dumps(data) if data else None))

    def operator(self, run_id: UUID, kind: str, step: str, data: dict[str, Any]) -> None:
        """An operator did something to a step; always stored."""
        self.entries.append((run_id, kind, step, None, json.dumps(data)))

    def custom(self, run_id: UUID, kind: str, step: str, task_id: int, data: str) -> None:
        """A handler emitted an event of its own; always stored."""
        self.entries.append((run_id, kind, step, task_id, data))

    def write(self) -> None:
        """Insert the collected events; the caller holds the locks of their runs."""
        if not self.entries:
            return
        counts: Counter[UUID] = Counter()
        numbers = []
        run_ids, kinds, steps, tasks, data = zip(*self.entries, strict=True)
        for run_id in run_ids:
            counts[run_id] += 1
            numbers.append(counts[run_id])
        sql = INSERT_FIRST_EVENTS if self.are_first else INSERT_EVENTS
        db.add(sql, EVENTS.lists(run_id=run_ids, number=numbers, type=kinds, step=steps, task_id=tasks, data=data))
        self.entries.clear()
