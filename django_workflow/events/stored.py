"""Following the engine's events, of one run or of all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from django_workflow import arguments, db, payload, queue, text
from django_workflow.conf import conf
from django_workflow.db import RUN_CHANNEL
from django_workflow.events.following import (
    BATCH,
    BATCH_BYTES,
    HORIZON,
    START,
    Cursor,
    Following,
    Read,
    Rows,
    behind,
    cursor_of,
    split,
)
from django_workflow.events.renumbering import EVENTS, translated
from django_workflow.models import Event, Run


class _Handle(Protocol):
    """A handle of a run."""

    id: UUID


def follow(
    run: Run | _Handle | UUID | str | None = None,
    types: Collection[str] | None = None,
    after: Iterable[int] | None = None,
    *,
    timeout: timedelta | float | None = None,
) -> Following[Event]:
    """Follow the engine's events: iterate over the result with `for` or `async for`, in `with` or `async with`.

    Every stored event arrives exactly once, those of one run in the order of their numbers, even where
    connections break or transactions overlap.

    run: only events of this run, a handle, a row or an id; they arrive at once. Those of all runs
        arrive as soon as no older transaction is open.
    types: only events of these types; "run.*" means all whose type begins with "run.".
    after: the `cursor` of the last event that was dealt with; None is from now on, (0, 0) all that is kept.
    timeout: end the iteration once nothing has arrived for so long, a timedelta or seconds; None waits for ever.
    """
    types = None if types is None else text.several(types, "types=")
    cursor = cursor_of(after)
    return Following(_Events(types, cursor) if run is None else _EventsOfRun(_id_of(run), types, cursor), timeout)


def _id_of(run: Run | _Handle | UUID | str) -> UUID:
    if isinstance(run, str | UUID):
        return arguments.uuid(run, "run=")
    return arguments.uuid(run.id if hasattr(run, "id") else run, "run=, which is a handle, a row or an id,")


COLUMNS = "e.xid, e.id, e.run_id, e.number, e.created_at, e.task_id, e.type, e.step, e.data"
NAMES = ("xid", "id", "run_id", "number", "created_at", "task_id", "type", "step", "data")
#: The next rows of a window, as many as have some bytes together.
WITHIN_BYTES = f"""
    SELECT xid, id, is_ripe, bytes, run_id, number, created_at, task_id, type, step,
           CASE WHEN is_ripe THEN data::text END
    FROM (SELECT next.*, coalesce(pg_column_size(data), 0) AS size,
                 sum(coalesce(pg_column_size(data), 0)) OVER (ORDER BY xid, id) AS bytes FROM next) AS sized
    WHERE bytes - size < {BATCH_BYTES} ORDER BY xid, id
"""  # noqa: S608  a constant
# what was committed before this moment although an older transaction is still open is not to be delivered
BEGIN_NOW = f"""
    (SELECT e.xid, e.id, true AS is_ripe FROM django_workflow_event e, {HORIZON}
     WHERE e.xid < horizon.xid ORDER BY e.xid DESC, e.id DESC LIMIT 1)
    UNION ALL
    SELECT e.xid, e.id, false FROM django_workflow_event e, {HORIZON} WHERE e.xid >= horizon.xid
"""  # noqa: S608  a constant
READ_EVENTS = f"""
    WITH next AS (
        SELECT {COLUMNS}, e.xid < horizon.xid AS is_ripe FROM django_workflow_event e, {HORIZON}
        WHERE (e.xid, e.id) > (%s::bigint, %s::bigint) ORDER BY e.xid, e.id LIMIT {BATCH}
    ) {WITHIN_BYTES}
"""  # noqa: S608  constants


class _Events:
    """The events of all runs.

    An event's transaction id is never lower than that of its run's event before it, so the order of the
    cursor is the order of each run: a transaction that got its id early and the run's lock late writes events
    that are kept back together with those before them.
    """

    def __init__(self, types: Sequence[str] | None, after: Cursor | None) -> None:
        # a start tells only the queue that it sent to
        self.channels: Sequence[str] = (RUN_CHANNEL, queue.CHANNEL)
        self.position = after
        self._is_wanted = _Types(types)
        self._before: set[int] = set()

    def begin(self, rows: Rows) -> None:
        """Begin behind all that is committed now, unless a cursor was given."""
        if self.position is not None:
            self.position = translated(rows, EVENTS, self.position)
        else:
            self.position = START
            for xid, row, is_ripe in rows(BEGIN_NOW):
                if is_ripe:
                    self.position = (xid, row)
                else:
                    self._before.add(row)

    def read(self, rows: Rows) -> tuple[list[Event], Read]:
        """Read events below the oldest open transaction."""
        assert self.position is not None
        ripe, how = split(rows(READ_EVENTS, behind(self.position)))
        events = [_event(row) for row in ripe]
        if events:
            self.position = events[-1].cursor
        new = [event for event in events if event.id not in self._before]
        self._before -= {event.id for event in events}
        return [event for event in new if self._is_wanted(event.type)], how

    def waits_for_caller(self, rows: Rows) -> bool:
        """Whatever is committed later is kept back until a transaction ends that has written."""
        return db.has_written()

    def concerns(self, channel: str, notification: str) -> bool:
        """Whatever is told may have been recorded."""
        return True

    def unstored(self, channel: str, notification: str) -> None:
        """No event travels in a notification."""


LAST_OF_RUN = """
    SELECT xid, id, number FROM django_workflow_event WHERE run_id = %s::uuid ORDER BY number DESC LIMIT 1
"""
LAST_OF_RUN_AT = """
    SELECT xid, id, number FROM django_workflow_event
    WHERE run_id = %s::uuid AND (xid, id) <= (%s::bigint, %s::bigint) ORDER BY number DESC LIMIT 1
"""
IS_RUN = "SELECT 1 FROM django_workflow_run WHERE id = %s::uuid"
# no horizon: events of a run are numbered under its lock, so that whoever sees one sees those before it
READ_EVENTS_OF_RUN = f"""
    WITH next AS (
        SELECT {COLUMNS}, true AS is_ripe FROM django_workflow_event e
        WHERE e.run_id = %s::uuid AND e.number > %s::int ORDER BY e.number LIMIT {BATCH}
    ) {WITHIN_BYTES}
"""  # noqa: S608  constants


class _EventsOfRun:
    """The events of one run."""

    def __init__(self, run_id: UUID, types: Sequence[str] | None, after: Cursor | None) -> None:
        self.run_id = run_id
        self.channels: Sequence[str] = (RUN_CHANNEL,)
        self.position = after
        self._is_wanted = _Types(types)
        self._number = 0

    def begin(self, rows: Rows) -> None:
        """Begin behind the cursor, or behind the run's last event."""
        if self.position is None:
            found = rows(LAST_OF_RUN, [self.run_id])
        else:
            self.position = translated(rows, EVENTS, self.position)
            found = rows(LAST_OF_RUN_AT, [self.run_id, *behind(self.position)])
        if found:
            xid, row, self._number = found[0]
            self.position = self.position or (xid, row)
        self.position = self.position or START

    def read(self, rows: Rows) -> tuple[list[Event], Read]:
        """Read the events that follow."""
        found, how = split(rows(READ_EVENTS_OF_RUN, [self.run_id, self._number]))
        events = [_event(row) for row in found]
        if events:
            self.position, self._number = events[-1].cursor, events[-1].number
        return [event for event in events if self._is_wanted(event.type)], how

    def waits_for_caller(self, rows: Rows) -> bool:
        """Nobody else sees a run that the caller's transaction has started."""
        return not rows(IS_RUN, [self.run_id]) and bool(db.rows(IS_RUN, [self.run_id]))

    def concerns(self, channel: str, notification: str) -> bool:
        """Say whether the run changed."""
        return notification == str(self.run_id)

    def unstored(self, channel: str, notification: str) -> None:
        """No event travels in a notification."""


class _Types:
    """Which types of events are wanted."""

    def __init__(self, types: Sequence[str] | None) -> None:
        self._all = types is None
        self._exact = frozenset(types or ())
        self._families = tuple(name[:-1] for name in types or () if name.endswith(".*"))

    def __call__(self, type: str) -> bool:
        return self._all or type in self._exact or type.startswith(self._families)


def _event(row: tuple[Any, ...]) -> Event:
    """Return a row of `READ_EVENTS` as a model."""
    values = dict(zip(NAMES, (*row[:2], *row[4:]), strict=True))
    values["data"] = payload.loads(values["data"])
    names = [field.attname for field in Event._meta.concrete_fields]  # noqa: SLF001  Django's own way to it
    return Event.from_db(conf.DATABASE, names, [values[name] for name in names])
