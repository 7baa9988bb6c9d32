"""Transaction ids of another cluster: a restored database has them in its events and messages.

There they mean nothing. Where they are higher than those that the new cluster gives, whoever follows hears nothing:
what is new stands behind cursors that are old, and what is old seems not to have ended. So they are shifted below
zero, all by the same amount, which keeps their order, and the shift is stored: cursors that somebody remembered from
the old cluster are shifted by it as well.
"""

from __future__ import annotations

import logging
from typing import Any

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.events.following import START, Cursor, Rows
from django_workflow.exceptions import InvalidArgument
from django_workflow.models.triggers import REPAIR_SETTING

logger = logging.getLogger("django_workflow.events")

EVENTS, MESSAGES = "django_workflow_event", "django_workflow_message"
#: Before all that the new cluster writes, and behind all that was shifted: transaction ids begin with 3.
BETWEEN: Cursor = (1, 0)

HIGHEST = {
    EVENTS: "SELECT max(xid) AS xid FROM django_workflow_event",
    # channel by channel, as its index is
    MESSAGES: """
        WITH RECURSIVE channels AS (
            (SELECT channel FROM django_workflow_message ORDER BY channel LIMIT 1)
            UNION ALL
            SELECT (SELECT m.channel FROM django_workflow_message m WHERE m.channel > c.channel
                    ORDER BY m.channel LIMIT 1) FROM channels c WHERE c.channel IS NOT NULL
        )
        SELECT max((SELECT m.xid FROM django_workflow_message m WHERE m.channel = c.channel
                    ORDER BY m.xid DESC LIMIT 1)) AS xid
        FROM channels c WHERE c.channel IS NOT NULL
    """,
}
#: Above all transaction ids whose rows can be seen: those of transactions that have ended, and of the caller's own.
NEXT = """
    greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
             pg_current_xact_id_if_assigned()::text::bigint + 1)
"""
IS_FOREIGN = "SELECT coalesce(highest.xid >= {next}, false) FROM ({highest}) AS highest"
LOCK = "LOCK TABLE django_workflow_renumbering IN EXCLUSIVE MODE"
# all up to the last row that is foreign for certain: ids go on over a restore, and so those behind it are new
RECORD = """
    INSERT INTO django_workflow_renumbering (table_name, last_id, lowest, shift)
    SELECT %s, last.id, least(0, min(t.xid)), max(t.xid) - least(0, min(t.xid)) + 1
    FROM {table} t, (SELECT max(id) AS id FROM {table} WHERE xid >= {next}) AS last
    WHERE t.id <= last.id GROUP BY last.id
    RETURNING last_id, shift
"""
SHIFT = "UPDATE {table} SET xid = xid - %s::bigint WHERE id <= %s::bigint"


def foreign() -> list[str]:
    """Return the tables that have transaction ids which this cluster never gave."""
    found = []
    for table, highest in HIGHEST.items():
        if db.rows(IS_FOREIGN.format(next=NEXT, highest=highest))[0][0]:
            found.append(table)
    return found


def repair() -> int:
    """Shift transaction ids of another cluster below all of this one; returns in how many tables.

    Two statements where there are none. In a large database this takes a while, once.
    """
    return sum(_repair(table) for table in foreign())


def _repair(table: str) -> int:
    with db.atomic():
        db.rows("SELECT set_config(%s, 'on', true)", [REPAIR_SETTING])
        db.execute(LOCK)
        # again under the lock: another process may have done it meanwhile
        for last_id, shift in db.rows(RECORD.format(table=table, next=NEXT), [table]):
            db.execute(SHIFT.format(table=table), [shift, last_id])
            logger.warning("%s has transaction ids of another cluster, up to id %d: shifted", table, last_id)
            return 1
    return 0


def repair_after_migrate(sender: Any, using: str = "default", **kwargs: Any) -> None:
    """Receiver of post_migrate."""
    if using != conf.DATABASE or not db.allows_migrate("django_workflow", using):
        return
    if db.rows("SELECT to_regclass('django_workflow_renumbering') IS NOT NULL")[0][0]:
        repair()


READ_SHIFTS = "SELECT last_id, lowest, shift FROM django_workflow_renumbering WHERE table_name = %s ORDER BY id"
#: A new one: above all that this cluster has given, to open transactions as well.
READ_NEXT = "SELECT pg_current_xact_id()::text::bigint"
READ_ENDED = f"SELECT {NEXT}"


def translated(rows: Rows, table: str, cursor: Cursor) -> Cursor:
    """Return what a cursor that somebody remembered means in this cluster.

    Raises `InvalidArgument` for one of the future: of another cluster, or of a time that a backup was made before.
    """
    if cursor == START:
        return cursor
    if cursor[0] >= rows(READ_ENDED)[0][0] and foreign_in(rows, table):
        db.on_own_connection(repair)
    shifts = rows(READ_SHIFTS, [table])
    xid, row = cursor
    for last_id, lowest, shift in shifts:
        if row <= last_id and xid >= lowest:
            xid -= shift
    if xid < rows(READ_ENDED)[0][0] or xid < rows(READ_NEXT)[0][0]:
        return xid, row
    if shifts:
        # what the old cluster wrote after it was dumped is lost, and all that is new here was not read
        return BETWEEN
    raise InvalidArgument(
        f"The cursor {cursor!r} is of another database cluster, or of a time after the backup that was restored: "
        "this one has not given such a transaction id yet. Follow from (0, 0) to get all that is kept, or from now on."
    )


def foreign_in(rows: Rows, table: str) -> bool:
    """Say whether a table has transaction ids which this cluster never gave, by a connection that listens."""
    return bool(rows(IS_FOREIGN.format(next=NEXT, highest=HIGHEST[table]))[0][0])
