"""Messages between the parts of a site: sent durably in a transaction, or just told; heard by whoever listens."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakSet

from django_workflow import arguments, db, payload, text
from django_workflow.conf import conf
from django_workflow.definition.names import QUEUE_RULE, is_queue_name
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
from django_workflow.events.renumbering import MESSAGES, translated
from django_workflow.exceptions import InvalidArgument

logger = logging.getLogger("django_workflow.events")

#: NOTIFY channel on which listeners hear of stored messages; the payload is "<channel> <id>".
MESSAGE_CHANNEL = "django_workflow_message"
#: Most messages that can be read at once.
MOST_ROWS = 2**31 - 1
#: Most bytes that a notification can carry.
MOST_BYTES = 7_999


@dataclass(frozen=True)
class Received:
    """A message as a listener receives it.

    id: the message's number; None for one that was not stored.
    channel: where it was sent.
    message: the JSON value that was sent.
    sent_at: when; None for one that was not stored.
    cursor: `listen(channel, after=cursor)` goes on behind this message.
    """

    id: int | None
    channel: str
    message: Any
    sent_at: datetime | None
    cursor: Cursor

    @property
    def is_stored(self) -> bool:
        """Whether the message was sent durably, with `send_with_notify`."""
        return self.id is not None


INSERT_MESSAGE = """
    INSERT INTO django_workflow_message (channel, message) VALUES (%s::text, %s::jsonb) RETURNING id
"""


def send_with_notify(channel: str, message: Any) -> int:
    """Store a message in the caller's transaction, and tell listeners once it has committed.

    Rolled back, nothing is sent. The message may be larger than a notification.

    channel: 1 to 40 lower-case letters, digits and underscores. message: any JSON value.
    Returns the message's id.
    Raises `PayloadError` where it is not JSON, or larger than `MAX_INPUT_BYTES`.
    """
    channel = _checked(channel)
    written = payload.dumps(message, what=f"The message for {channel!r}", limit=conf.MAX_INPUT_BYTES)
    message_id: int = db.rows(INSERT_MESSAGE, [channel, written])[0][0]
    db.notify_after_commit([(MESSAGE_CHANNEL, f"{channel} {message_id}")])
    return message_id


def notify_only(channel: str, message: Any) -> None:
    """Tell whoever listens at this moment, once the caller's transaction has committed; nothing is stored.

    channel: 1 to 40 lower-case letters, digits and underscores. message: a JSON value of at most 7,999 bytes.
    Raises `PayloadError` where it is not JSON, or too large for a notification.
    """
    channel = _checked(channel)
    what = f"The message for {channel!r}, which is not stored but travels in a notification,"
    written = payload.dumps(message, what=what, limit=MOST_BYTES)
    # one transaction for each: PostgreSQL drops what is told twice in one
    db.after_commit(lambda: db.notify([(_own_channel(channel), written)]))


def listen(
    channel: str, after: Iterable[int] | None = None, *, timeout: timedelta | float | None = None
) -> Following[Received]:
    """Listen on a channel: iterate over the result with `for` or `async for`, in `with` or `async with`.

    Every listener receives every message, and consumes none. Stored messages arrive once each, those
    of one sender in the order sent, even where connections break or transactions overlap.

    after: the cursor of the last message that was dealt with; None is from now on, (0, 0) all that is kept.
    timeout: end the iteration once nothing has arrived for so long, a timedelta or seconds; None waits for ever.
    """
    channel = _checked(channel)
    listener = Following(_Messages(channel, cursor_of(after)), timeout)
    with _listeners_lock:
        _listeners[channel].add(listener)
    return listener


_listeners: dict[str, WeakSet[Following[Received]]] = defaultdict(WeakSet)
_listeners_lock = threading.Lock()


def unlisten(channel: str) -> None:
    """Stop all listeners of this process that listen on a channel: their iterations end."""
    channel = _checked(channel)
    with _listeners_lock:
        stopping = list(_listeners.pop(channel, ()))
    for listener in stopping:
        listener.close()


RECENT_MESSAGES = f"""
    SELECT m.xid, m.id, m.xid < horizon.xid AS is_ripe, m.created_at, m.message::text
    FROM django_workflow_message m, {HORIZON}
    WHERE m.channel = %s::text ORDER BY m.xid DESC, m.id DESC LIMIT %s::int
"""  # noqa: S608  a constant


def recent_messages(channel: str, limit: int = 100) -> list[Received]:
    """Return the latest stored messages of a channel, the oldest of them first.

    They are read in the caller's transaction. The last one's cursor is where to listen on: nothing is missed,
    and only what is younger than the oldest open transaction comes again.
    """
    channel = _checked(channel)
    found = db.rows(RECENT_MESSAGES, [channel, arguments.whole(limit, "limit=", most=MOST_ROWS)])
    received = []
    cursor = START
    for xid, number, is_ripe, sent_at, written in reversed(found):
        cursor = (xid, number) if is_ripe else cursor
        received.append(Received(number, channel, payload.loads(written), sent_at, cursor))
    return received


# what was committed before this moment although an older transaction is still open is not to be delivered
BEGIN_NOW = f"""
    (SELECT m.xid, m.id, true AS is_ripe FROM django_workflow_message m, {HORIZON}
     WHERE m.channel = %s::text AND m.xid < horizon.xid ORDER BY m.xid DESC, m.id DESC LIMIT 1)
    UNION ALL
    SELECT m.xid, m.id, false FROM django_workflow_message m, {HORIZON}
    WHERE m.channel = %s::text AND m.xid >= horizon.xid
"""  # noqa: S608  a constant
READ_MESSAGES = f"""
    SELECT xid, id, is_ripe, bytes, created_at, CASE WHEN is_ripe THEN message::text END FROM (
        SELECT m.xid, m.id, m.created_at, m.message, m.xid < horizon.xid AS is_ripe,
               coalesce(pg_column_size(m.message), 0) AS size,
               sum(coalesce(pg_column_size(m.message), 0)) OVER (ORDER BY m.xid, m.id) AS bytes
        FROM django_workflow_message m, {HORIZON}
        WHERE m.channel = %s::text AND (m.xid, m.id) > (%s::bigint, %s::bigint)
        ORDER BY m.xid, m.id LIMIT {BATCH}
    ) AS next
    WHERE bytes - size < {BATCH_BYTES} ORDER BY xid, id
"""  # noqa: S608  constants


class _Messages:
    """The messages of one channel."""

    def __init__(self, channel: str, after: Cursor | None) -> None:
        self.channel = channel
        self.channels: Sequence[str] = (MESSAGE_CHANNEL, _own_channel(channel))
        self.position = after
        self._before: set[int] = set()

    def begin(self, rows: Rows) -> None:
        """Begin behind all that is committed now, unless a cursor was given."""
        if self.position is not None:
            self.position = translated(rows, MESSAGES, self.position)
        else:
            self.position = START
            for xid, number, is_ripe in rows(BEGIN_NOW, [self.channel, self.channel]):
                if is_ripe:
                    self.position = (xid, number)
                else:
                    self._before.add(number)

    def read(self, rows: Rows) -> tuple[list[Received], Read]:
        """Read messages below the oldest open transaction."""
        assert self.position is not None
        ripe, how = split(rows(READ_MESSAGES, [self.channel, *behind(self.position)]))
        received = []
        for xid, number, _, _, sent_at, written in ripe:
            self.position = (xid, number)
            if number in self._before:
                self._before.remove(number)
            else:
                received.append(Received(number, self.channel, payload.loads(written), sent_at, self.position))
        return received, how

    def waits_for_caller(self, rows: Rows) -> bool:
        """Whatever is committed later is kept back until a transaction ends that has written."""
        return db.has_written()

    def concerns(self, channel: str, notification: str) -> bool:
        """Say whether a message of this channel was stored."""
        return channel == MESSAGE_CHANNEL and notification.partition(" ")[0] == self.channel

    def unstored(self, channel: str, notification: str) -> Received | None:
        """Return a message that was not stored."""
        if channel == MESSAGE_CHANNEL:
            return None
        try:
            message = payload.loads(notification)
        except (ValueError, RecursionError):
            # any role may notify; what is no JSON was not sent by `notify_only`
            logger.warning("a notification on %s is left out: it is not JSON", channel)
            return None
        return Received(None, self.channel, message, None, self.position or START)


def _own_channel(channel: str) -> str:
    return f"wfm_{channel}"


def _checked(channel: Any) -> str:
    """Return a channel's name as an exact `str`; raises `InvalidArgument` for what cannot name one."""
    if not is_queue_name(channel):
        raise InvalidArgument(f"{text.shown(channel)} cannot name a channel: a name has {QUEUE_RULE}.")
    return text.plain(channel, "channel=")
