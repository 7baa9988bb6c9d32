"""The database's time: it wrote all the others, and clocks of web servers and workers differ from it."""

from __future__ import annotations

from datetime import datetime

from django_workflow import db


def now() -> datetime:
    """Return the time by the database's clock."""
    moment: datetime = db.rows("SELECT clock_timestamp()")[0][0]
    return moment
