"""Drawing ids from sequences."""

from __future__ import annotations

import threading
from collections import defaultdict

from django_workflow.conf import conf
from django_workflow.db.statements import rows


class _IdBlocks:
    """Ids drawn from sequences in blocks, so that a small batch costs no round trip for its ids."""

    def __init__(self) -> None:
        self.of_thread = threading.local()
        self.generation = 0

    def spare(self, table: str) -> list[int]:
        """Return this thread's spare ids of a table; those of an earlier generation are forgotten."""
        if getattr(self.of_thread, "generation", None) != self.generation:
            self.of_thread.generation = self.generation
            self.of_thread.tables = defaultdict(list)
        spare: list[int] = self.of_thread.tables[conf.DATABASE, table]
        return spare


_blocks = _IdBlocks()
BLOCK = 100
DRAW = "SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)"


def draw_ids(table: str, count: int) -> list[int]:
    """Return `count` fresh ids of `table`, ascending within one drawn block."""
    spare = _blocks.spare(table)
    if len(spare) < count:
        spare.extend(row[0] for row in rows(DRAW, [table, max(BLOCK, count)]))
    drawn, spare[:] = spare[:count], spare[count:]
    return drawn


def forget_drawn_ids() -> None:
    """Throw spare ids away: a reset sequence would hand them out again."""
    _blocks.generation += 1
