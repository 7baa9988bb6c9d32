"""Worker processes as they last reported: which are live, and what they serve."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django_workflow import db, times

LIVE, SILENT, STOPPED = "live", "silent", "stopped"

#: Whether a worker, whose row is `w`, has reported within its lease, by the database's clock.
IS_LIVE: Final = "w.stopped_at IS NULL AND w.heartbeat_at > clock_timestamp() - make_interval(secs => w.lease_seconds)"
#: The state of that worker; a silent one stopped reporting without a goodbye.
STATE: Final = f"CASE WHEN w.stopped_at IS NOT NULL THEN '{STOPPED}' WHEN {IS_LIVE} THEN '{LIVE}' ELSE '{SILENT}' END"
#: Workers that reported within a day, newest first, each as JSON for `of_json`; its parameter: stopped ones, too.
SEEN: Final = f"""
    SELECT (to_jsonb(w) || jsonb_build_object(
        'age', extract(epoch FROM clock_timestamp() - w.heartbeat_at), 'state', {STATE}))::text
    FROM (
        SELECT * FROM django_workflow_worker
        WHERE heartbeat_at > clock_timestamp() - interval '1 day' AND (stopped_at IS NULL OR %s::bool)
        ORDER BY id DESC LIMIT 500
    ) w
"""  # noqa: S608  a constant
STATES: Final = f"SELECT w.id, {STATE} FROM django_workflow_worker w WHERE w.id = ANY(%s::bigint[])"  # noqa: S608


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker process as it last reported."""

    id: int
    hostname: str
    pid: int
    queues: list[str]
    concurrency: int
    #: Slots in which a handler was executed.
    running_count: int
    #: Attempts that it has finished.
    settled_count: int
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    #: Seconds since its last report.
    age: float
    #: Live, silent or stopped.
    state: str

    @property
    def read_at(self) -> datetime:
        """The database's time at which this was read."""
        return self.heartbeat_at + timedelta(seconds=self.age)

    @property
    def settled(self) -> str:
        """Attempts it has finished, for people."""
        return f"{self.settled_count:,}"


def read(*, with_stopped: bool = False) -> list[WorkerState]:
    """Return the workers that reported within a day, newest first.

    with_stopped: those that have said goodbye, too.
    """
    return [of_json(text) for (text,) in db.rows(SEEN, [with_stopped])]


def of_json(text: str) -> WorkerState:
    """Return a worker from a row of `SEEN`."""
    values: dict[str, Any] = json.loads(text)
    named = {name: values[name] for name in WorkerState.__slots__}
    moments = {name: times.of_json(values[name]) for name in ("started_at", "heartbeat_at", "stopped_at")}
    return WorkerState(**named | moments)


def live(workers: Iterable[WorkerState]) -> list[WorkerState]:
    """Return those of some workers that are live."""
    return [worker for worker in workers if worker.state == LIVE]


def states(ids: Iterable[int]) -> dict[int, str]:
    """Return the states of some workers by their ids."""
    return dict(db.rows(STATES, [list(ids)]))
