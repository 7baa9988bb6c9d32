"""What was committed without waiting for the disk reaches it when somebody asks for that."""

from __future__ import annotations

import pytest

from django_workflow import db

IS_FLUSHED = "SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn"


@pytest.mark.django_db(transaction=True)
def test_flush_waits_for_what_was_committed_before():
    with db.atomic():
        db.without_waiting_for_flush()
        db.execute("INSERT INTO django_workflow_queue (name) VALUES ('unflushed')")
    written = db.rows("SELECT pg_current_wal_insert_lsn()::text")[0][0]
    db.flush()
    assert db.rows(IS_FLUSHED, [written])[0][0]
