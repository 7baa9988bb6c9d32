"""Effects of handlers, recorded in a plain table, as a site's own writes would be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

CREATE_EFFECTS = """
    CREATE TABLE IF NOT EXISTS race_effect (
        id bigserial PRIMARY KEY, run_id uuid NOT NULL, step text NOT NULL, index int NOT NULL, attempt int NOT NULL,
        pid int NOT NULL
    )
"""
DROP_EFFECTS = "DROP TABLE IF EXISTS race_effect"
RECORD = "INSERT INTO race_effect (run_id, step, index, attempt, pid) VALUES (%s, %s, %s, %s, %s)"


class Effects:
    """Reads the table; `rows(sql, params)` executes a statement."""

    def __init__(self, rows: Callable[..., Any]) -> None:
        self._rows = rows

    def of(self, step: str) -> Counter[tuple[Any, int]]:
        """Return how often each item of a step had its effect, by run and index."""
        found = self._rows(
            "SELECT run_id, index, count(*) FROM race_effect WHERE step = %s GROUP BY 1, 2",
            [step],
        )
        return Counter({(run, index): count for run, index, count in found})

    def total(self, step: str) -> int:
        """Return how many effects a step had in all."""
        return sum(self.of(step).values())
