"""A duty in parts: one that is refused stops no other, and is tried again the next time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from django_workflow import db

logger = logging.getLogger("django_workflow.keeper")

T = TypeVar("T")
#: How many rows a duty works on at once.
BATCH = 1_000


def attempt(work: Callable[[T], int], item: T, **fields: object) -> int:
    """Do a part of a duty; where it is refused the other parts go on, and it is tried again the next time."""
    try:
        return work(item)
    except Exception as error:
        if db.is_of_connection(error):
            raise
        told = ", ".join(f"{name} {value}" for name, value in fields.items())
        logger.warning("the keeper leaves %s for the next time: %s", told, db.for_logs(error))
        return 0


def leave_for_later(run_id: UUID, error: Exception) -> None:
    """Log that a run is left for the next time."""
    extra = {"run_id": str(run_id)}
    logger.warning("the keeper leaves a run for the next time: %s", db.for_logs(error), extra=extra)
