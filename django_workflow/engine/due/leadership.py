"""Leading: what one process at a time does for all, for a term that it renews.

The term is a row with a time of the database's clock, not a lock of a session: a process that is frozen, or on a
machine that vanished, keeps its session for as long as it likes, and its term ends all the same. Two may lead at
once for a moment, and so whatever a leader does locks the rows that it changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from django_workflow import db

Rows = Callable[[str, Sequence[Any]], Sequence[tuple[Any, ...]]]

# a term that is lost in a crash is taken again; nothing waits for the disk
TAKE_TERM = """
    INSERT INTO django_workflow_leader AS leader (name, holder, until)
    SELECT %s, %s, clock_timestamp() + make_interval(secs => %s::float8)
    FROM (SELECT set_config('synchronous_commit', 'off', true)) AS s
    ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
    WHERE leader.holder = EXCLUDED.holder OR leader.until < clock_timestamp()
    RETURNING name
"""
END_TERM = """
    UPDATE django_workflow_leader SET until = clock_timestamp() - interval '1 second'
    WHERE name = %s AND holder = %s RETURNING name
"""


class Leadership:
    """What one process may lead.

    name: of what is led. term: seconds for which it leads after it was last heard of; it renews each third of that.
    """

    def __init__(self, name: str, term: float) -> None:
        self.name = name
        self.term = term
        self.is_held = False
        self._holder = uuid4().hex
        self._renew_at = 0.0

    def hold(self, rows: Rows = db.rows) -> bool:
        """Take the lead where nobody has it, and renew the term where that is due; say whether it is held."""
        now = time.monotonic()
        if not self.is_held or now >= self._renew_at:
            self.is_held = bool(rows(TAKE_TERM, [self.name, self._holder, self.term]))
            self._renew_at = now + self.term / 3
        return self.is_held

    def doubt(self) -> None:
        """Ask again before the next work: nobody knows what happened meanwhile."""
        self.is_held = False

    def resign(self, rows: Rows = db.rows) -> None:
        """Let another one lead at once."""
        if self.is_held:
            self.is_held = False
            rows(END_TERM, [self.name, self._holder])
