"""The queues: the only module that says `pgmq.`.

A message is a pointer: `{"task": id}`. What is true stands in the task's row.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from importlib import resources

from django.db import connections

from django_workflow import db
from django_workflow.definition.names import is_queue_name

#: What pgmq's names of queues begin with where the site's tables stand in the schema `public`; see `prefix`.
PREFIX = "wfq_"
#: NOTIFY channel on which workers hear of new messages; the payload is the queue's name.
CHANNEL = "django_workflow_queue"

IS_INSTALLED = "SELECT to_regclass('pgmq.meta') IS NOT NULL"
CAN_CREATE_EXTENSION = """
    SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pgmq')
    AND has_database_privilege(current_database(), 'CREATE')
    AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""


def install(using: str) -> None:
    """Install pgmq in the database `using`: the extension where it is to be had, else its SQL.

    The SQL comes from the PyPI package `pgmq`; it is plain PL/pgSQL and needs no rights beyond
    creating a schema. Does nothing where pgmq is installed already.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(IS_INSTALLED)
        if cursor.fetchone()[0]:
            return
        cursor.execute(CAN_CREATE_EXTENSION)
        if cursor.fetchone()[0]:
            cursor.execute("CREATE EXTENSION pgmq")
            return
        files = resources.files("pgmq") / "sql"
        version = (files / "pgmq.sql.version").read_text().strip()
        cursor.execute((files / "pgmq.sql").read_text())
        cursor.execute(f"COMMENT ON SCHEMA pgmq IS 'pgmq {version}, installed by django_workflow'")


def prefix() -> str:
    """Return what pgmq's names of this site's queues begin with: they are known to the whole database.

    In another schema than `public` the five letters in it stand for that; with a queue's own 40 characters
    that is all the length that pgmq allows.
    """
    letters = db.tag()
    return f"w{letters}_" if letters else PREFIX


def _name(queue: str) -> str:
    """Return pgmq's name of a queue."""
    return prefix() + queue


def create(names: Sequence[str]) -> None:
    """Create the queues `names` where they do not exist; this is DDL, never done in a request."""
    db.execute("SELECT pgmq.create(name) FROM unnest(%s::text[]) AS q(name)", [[_name(name) for name in names]])


def drop(queue: str) -> None:
    """Remove a queue with its messages; DDL as well."""
    db.execute("SELECT pgmq.drop_queue(%s)", [_name(queue)])


# pgmq keeps the name of a queue whose table was dropped, or was left out of a restore
EXISTING = """
    SELECT queue_name FROM pgmq.meta
    WHERE starts_with(queue_name, %s) AND to_regclass('pgmq.q_' || queue_name) IS NOT NULL
"""


def existing() -> list[str]:
    """Return the names of all workflow queues whose table is there."""
    own = prefix()
    return sorted(name.removeprefix(own) for (name,) in db.rows(EXISTING, [own]))


# one message per task, and which task each belongs to. Message ids are drawn in the order of insertion, which is that
# of the array: the two are zipped, for a join of two sets without an index costs their sizes multiplied
SEND_MANY = """
    SELECT s.task_id, s.message_id, s.place
    FROM unnest(
        %s::bigint[],
        ARRAY(
            SELECT sent FROM pgmq.send_batch(
                %s,
                ARRAY(SELECT jsonb_build_object('task', id)
                      FROM unnest(%s::bigint[]) WITH ORDINALITY AS t(id, o) ORDER BY o),
                clock_timestamp() + make_interval(secs => %s::float8)
            ) AS sent ORDER BY sent
        )
    ) WITH ORDINALITY AS s(task_id, message_id, place)
"""
# a batch goes through five functions of pgmq, one message through one: 0.2 ms of an idle system's latency
SEND_ONE = """
    SELECT %s::bigint AS task_id,
           (SELECT * FROM pgmq.send(%s, jsonb_build_object('task', %s::bigint), NULL::jsonb,
                                    clock_timestamp() + make_interval(secs => %s::float8))) AS message_id,
           1 AS place
"""
#: The message of the row whose place in its set is `n.place`, within a statement that `sending` completes.
MESSAGE_AT_PLACE = "(ARRAY(SELECT message_id FROM sent ORDER BY place))[n.place]"


def sending(
    sql: str, params: Sequence[object], queue: str, task_ids: Sequence[int], delay: float = 0.0
) -> db.Statement:
    """Return the statement `sql` after a CTE `sent(task_id, message_id, place)` that sends a message for each task.

    sql: joins no set with `sent`, but takes `MESSAGE_AT_PLACE`; tables may be joined by their keys.
    delay: seconds before the messages become visible. place: of a task in `task_ids`, from 1.
    """
    if len(task_ids) == 1:
        return _after(SEND_ONE, sql), [task_ids[0], _name(queue), task_ids[0], delay, *params]
    ids = list(task_ids)
    return _after(SEND_MANY, sql), [ids, _name(queue), ids, delay, *params]


@functools.cache
def _after(send: str, sql: str) -> str:
    return f"WITH sent AS MATERIALIZED ({send}) {sql}"


# The flush is left to the claim that follows: a read lost in a crash only shows the message again. pgmq.read does the
# same from the front only, and what it walks over there grows with each deletion while an older transaction is open
READ = """
    SELECT msg_id, (message->>'task')::bigint
    FROM (SELECT set_config('synchronous_commit', 'off', true)) AS s,
         pgmq.set_vt(%s, ARRAY(
             SELECT msg_id FROM pgmq.{table}
             WHERE msg_id > %s::bigint AND vt <= clock_timestamp() AND NOT EXISTS (
                 SELECT 1 FROM django_workflow_queue WHERE name = %s AND paused_at IS NOT NULL)
             ORDER BY msg_id LIMIT %s::int FOR UPDATE SKIP LOCKED
         ), %s::int)
"""


def read(queue: str, lease: float, limit: int, *, after: int = 0) -> list[tuple[int, int | None]]:
    """Read up to `limit` visible messages behind the message `after`, and hide them for `lease` seconds.

    Returns pairs of message id and task id, oldest first; of a paused queue none.
    """
    params = [_name(queue), after, queue, limit, max(1, round(lease))]
    found = db.rows(READ.format(table=_table(queue)), params)
    return sorted((message, task) for message, task in found)


# what ends or goes on with a task must not fail where the queue's table is gone; the keeper makes it again
IF_THERE = "to_regclass('pgmq.q_' || %s) IS NOT NULL"
DELETE = f"SELECT pgmq.delete(%s, %s::bigint[]) WHERE {IF_THERE}"


def delete(queue: str, message_ids: Sequence[int]) -> None:
    """Delete messages; ids that are gone already do no harm."""
    name = _name(queue)
    db.add(DELETE, [name, list(message_ids), name])


def delete_all(messages: Iterable[tuple[str, int | None]]) -> None:
    """Delete messages of several queues, by queue and id; None is a task without a message."""
    ids: dict[str, list[int]] = defaultdict(list)
    for queue, message_id in messages:
        if message_id is not None:
            ids[queue].append(message_id)
    for queue, own in ids.items():
        delete(queue, own)


HIDDEN = db.Columns("h", id="bigint", delay="float8")
HIDE = f"""
    SELECT count(*) FROM {HIDDEN},
    LATERAL pgmq.set_vt(%s, h.id, clock_timestamp() + make_interval(secs => h.delay)) WHERE {IF_THERE}
"""  # noqa: S608  a constant


def hide(queue: str, message_ids: Sequence[int], delays: Sequence[float]) -> None:
    """Hide each message for its own delay in seconds from now; zero makes it visible at once."""
    name = _name(queue)
    db.add(HIDE, [*HIDDEN.lists(id=message_ids, delay=delays), name, name])


EXTEND = f"SELECT count(*) FROM pgmq.set_vt(%s, %s::bigint[], %s::int) WHERE {IF_THERE}"  # noqa: S608  a constant


def extend(queue: str, message_ids: Sequence[int], lease: float) -> None:
    """Hide messages for another `lease` seconds."""
    name = _name(queue)
    db.execute(EXTEND, [name, list(message_ids), max(1, round(lease)), name])


MISSING = """
    SELECT m.id FROM unnest(%s::bigint[]) AS m(id)
    WHERE NOT EXISTS (SELECT 1 FROM pgmq.{table} q WHERE q.msg_id = m.id)
"""


def missing(queue: str, message_ids: Sequence[int]) -> set[int]:
    """Return those of `message_ids` that the queue does not hold."""
    sql = MISSING.format(table=_table(queue))
    return {row[0] for row in db.rows(sql, [list(message_ids)])}


def depth(queue: str) -> tuple[int, int, float]:
    """Return a queue's visible messages, all its messages, and the age in seconds of the oldest visible one."""
    sql = f"""
        SELECT count(*) FILTER (WHERE vt <= clock_timestamp()), count(*),
               coalesce(extract(epoch FROM clock_timestamp() - min(vt) FILTER (WHERE vt <= clock_timestamp())), 0)
        FROM pgmq.{_table(queue)}
    """  # noqa: S608  the table's name is made from a checked queue name
    visible, total, age = db.rows(sql)[0]
    return visible, total, float(age)


DEPTH_UP_TO = """
    SELECT '{queue}', (SELECT count(*) FROM (
        SELECT 1 FROM pgmq.{table} WHERE vt <= statement_timestamp() LIMIT %s::int) v), (SELECT count(*) FROM (
        SELECT 1 FROM pgmq.{table} WHERE vt > statement_timestamp() LIMIT %s::int) h),
        coalesce((SELECT extract(epoch FROM statement_timestamp() - min(vt))::float8
                  FROM pgmq.{table} WHERE vt <= statement_timestamp()), 0)
"""


def depths(queues: Sequence[str], most: int) -> dict[str, tuple[int, int, float]]:
    """Return visible and hidden messages of each queue, counted up to `most`, and the oldest visible one's age."""
    if not queues:
        return {}
    sql = " UNION ALL ".join(DEPTH_UP_TO.format(queue=queue, table=_table(queue)) for queue in queues)
    return {name: (visible, hidden, age) for name, visible, hidden, age in db.rows(sql, [most, most] * len(queues))}


def ahead(queue: str, message_id: int, limit: int) -> int:
    """Return how many visible messages stand before one, counted up to `limit`."""
    sql = f"""
        SELECT count(*) FROM (
            SELECT 1 FROM pgmq.{_table(queue)} WHERE msg_id < %s::bigint AND vt <= clock_timestamp() LIMIT %s::int
        ) m
    """  # noqa: S608  the table's name is made from a checked queue name
    found: int = db.rows(sql, [message_id, limit])[0][0]
    return found


def purge(queue: str) -> None:
    """Delete all messages of a queue; the tasks stay, and the keeper sends for them anew."""
    db.execute("SELECT pgmq.purge_queue(%s)", [_name(queue)])


def _table(queue: str) -> str:
    if not is_queue_name(queue):
        raise ValueError(f"{queue!r} is no queue name")
    return f"q_{_name(queue)}"


def advance(queue: str, time: timedelta) -> None:
    """Let `time` pass for the hidden messages of a queue."""
    db.execute(f"UPDATE pgmq.{_table(queue)} SET vt = vt - %s::interval WHERE vt > clock_timestamp()", [time])  # noqa: S608
