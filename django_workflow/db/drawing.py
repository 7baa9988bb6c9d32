"""Drawing ids from sequences."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from django.db.utils import DatabaseError

from django_workflow.conf import conf
from django_workflow.db.batches import rows
from django_workflow.db.errors import table_of_taken_id
from django_workflow.db.sessions import connection, has_own_session

T = TypeVar("T")


class _IdBlocks:
    """Ids drawn from sequences in blocks, so that a small batch costs no round trip for its ids."""

    def __init__(self) -> None:
        self.of_thread = threading.local()
        self.generation = 0

    def spare(self, table: str) -> list[int]:
        """Return this thread's spare ids of a table; those of an earlier generation or session are forgotten."""
        source = (self.generation, _session())
        if getattr(self.of_thread, "source", None) != source:
            self.of_thread.source = source
            self.of_thread.tables = defaultdict(list)
            self.of_thread.sizes = defaultdict(lambda: SMALLEST_BLOCK)
        spare: list[int] = self.of_thread.tables[conf.DATABASE, table]
        return spare

    def next_size(self, table: str) -> int:
        """Return how many ids of a table this thread draws now; whoever needs many draws more each time."""
        size: int = self.of_thread.sizes[table]
        self.of_thread.sizes[table] = min(2 * size, LARGEST_BLOCK)
        return size


def _session() -> Any:
    """Return this thread's session, opening it if need be.

    After a crash a sequence may hand out again what was drawn shortly before it (seen in the chaos
    suite: a step's end refused, for its successor's id was taken). No session outlives a crash.
    """
    wrapper = connection()
    wrapper.ensure_connection()
    return wrapper.connection


_blocks = _IdBlocks()
SMALLEST_BLOCK, LARGEST_BLOCK = 100, 1_600
# the sequence is looked up once, not for each id
DRAW = """
    SELECT nextval(s.name)
    FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name OFFSET 0) s, generate_series(1, %s::int)
"""


def draw_ids(table: str, count: int) -> list[int]:
    """Return `count` fresh ids of `table`, ascending within one drawn block."""
    spare = _blocks.spare(table)
    if len(spare) < count:
        # behind a pooler a connection outlives the sessions it is given
        block = max(_blocks.next_size(table), count) if has_own_session(connection()) else count
        spare.extend(row[0] for row in rows(DRAW, [table, block]))
    drawn, spare[:] = spare[:count], spare[count:]
    return drawn


def draw_next(table: str, count: int) -> list[int]:
    """Return the next ids of `table`, ascending: above all that were drawn before, whoever drew them."""
    return sorted(row[0] for row in rows(DRAW, [table, count]))


def forget_drawn_ids() -> None:
    """Throw spare ids away: a reset sequence would hand them out again."""
    _blocks.generation += 1


#: Ids that are left free above the highest one, for whoever draws at the same time.
MARGIN = 1_000
CATCH_UP = """
    SELECT setval(s.name, highest.id + %s::bigint)
    FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name) s, (SELECT max(id) AS id FROM {table}) highest
    WHERE highest.id > coalesce(pg_sequence_last_value(s.name), 0)
"""


def with_fresh_ids(work: Callable[[], T]) -> T:
    """Do some work; where an id that it drew is taken, do it again with ids above all there are.

    Rows that were loaded or restored may have the ids that this process drew before, or those that a sequence
    which was not restored with them gives.
    """
    try:
        return work()
    except DatabaseError as error:
        table = table_of_taken_id(error)
        if table is None:
            raise
    forget_drawn_ids()
    rows(CATCH_UP.format(table=table), [MARGIN, table])
    return work()
