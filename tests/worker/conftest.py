"""Every test of workers: what it writes is committed, and no session outlives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from django_workflow import db
from tests.waiting import eventually

OTHERS = """
    SELECT pid, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@pytest.fixture(autouse=True)
def committed(workflow_queues: None) -> Iterator[None]:
    """A committed database; at the end no session but the test's own may be left."""
    yield
    eventually(lambda: not db.rows(OTHERS), f"sessions that nobody closed: {db.rows(OTHERS)}", seconds=5)
