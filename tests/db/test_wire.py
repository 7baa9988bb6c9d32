"""Statements past psycopg's cursors: what they mean is what they mean there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import DataError, OperationalError, connection, connections, transaction
from django.db.utils import IntegrityError
from psycopg import IsolationLevel

from django_workflow import db
from django_workflow.db import wire

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
#: Values and the type they are read as.
VALUES = [
    (None, "text"), ("", "text"), ('a "quoted" \\ text', "text"), ("Ωλ🙂", "text"), ("%s %% $1", "text"),
    (0, "bigint"), (-(2**63), "bigint"), (1.5, "float8"), (True, "bool"), (False, "bool"), (Decimal("1.10"), "numeric"),
    (UUID(int=7), "uuid"), (NOON, "timestamptz"), (timedelta(days=-2, seconds=1.5), "interval"),
    ([], "bigint[]"), ([1, 2], "bigint[]"), ([1, None, 3], "bigint[]"), ([None, None], "text[]"),
    (["a,b", '"', None], "text[]"), (["a,b", '"{}', "\\", "", "NULL", "Ω"], "text[]"), (["one"], "text[]"),
    ([1.5, float("inf"), 1e-300], "float8[]"), ([True, False], "bool[]"), ([True, None], "bool[]"),
    ([UUID(int=0), UUID(int=2**128 - 1)], "uuid[]"), ([UUID(int=7), None], "uuid[]"),
    ([NOON, NOON], "timestamptz[]"), ([timedelta(1.5)], "interval[]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), VALUES, ids=[f"{kind}-{value!r}" for value, kind in VALUES])
def test_a_value_comes_back_as_it_went(transactional_db, value, kind):
    assert rows(f"SELECT %s::{kind}", [value]) == [(value,)]


def rows(sql, params=()):
    return db.rows(sql, params)


def prepared():
    return {name for (name,) in rows("SELECT name FROM pg_prepared_statements WHERE name LIKE 'django_workflow%%'")}


def test_nul_in_a_text_is_refused_before_anything_is_sent(transactional_db):
    for text in ("a\0b", ["a\0b"], ["a", "b\0c"], [None, "\0"]):
        with pytest.raises(DataError, match="NUL"):
            rows(f"SELECT %s::text{'[]' if isinstance(text, list) else ''}", [text])
    assert rows("SELECT 1") == [(1,)]


def test_errors_are_djangos_with_the_servers_words(transactional_db):
    with pytest.raises(DataError, match="division by zero"):
        rows("SELECT 1 / %s::int", [0])


@transaction.atomic
def insert_twice():
    for _ in range(2):
        db.execute("INSERT INTO django_workflow_queue (name) VALUES (%s)", ["twice"])


def test_a_refused_statement_ends_its_block_as_with_djangos_cursors(transactional_db):
    with pytest.raises(IntegrityError):
        insert_twice()
    assert rows("SELECT count(*) FROM django_workflow_queue WHERE name = 'twice'") == [(0,)]


def test_the_first_statement_of_a_block_begins_its_transaction(transactional_db):
    with transaction.atomic():
        db.execute("INSERT INTO django_workflow_queue (name) VALUES (%s)", ["undone"])
        transaction.set_rollback(True)
    assert rows("SELECT count(*) FROM django_workflow_queue WHERE name = 'undone'") == [(0,)]


def test_a_statement_is_prepared_once_whatever_its_parameters(transactional_db):
    for number in (1, 2**40, 7):
        rows("SELECT %s::bigint + 4711", [number])
    found = rows("SELECT generic_plans + custom_plans FROM pg_prepared_statements WHERE statement LIKE '%%4711'")
    assert found == [(3,)]


def test_what_somebody_deallocated_is_prepared_again(transactional_db):
    rows("SELECT 42")
    connection.cursor().execute("DEALLOCATE ALL")
    assert rows("SELECT 42") == [(42,)]


def test_no_more_statements_stay_prepared_than_a_session_should_hold(transactional_db, monkeypatch):
    rows("SELECT 1")
    monkeypatch.setattr(wire, "MOST", len(prepared()) + 3)
    for number in range(20):
        assert rows(f"SELECT {number} + %s::int", [1]) == [(number + 1,)]
    assert len(prepared()) <= wire.MOST + 1


def test_a_transaction_begins_at_the_isolation_level_of_its_connection(transactional_db):
    connection.ensure_connection()
    connection.connection.isolation_level = IsolationLevel.REPEATABLE_READ
    wire._sessions.pop(connection.connection, None)
    wire._latest.connection = None
    try:
        with transaction.atomic():
            assert rows("SELECT current_setting('transaction_isolation')") == [("repeatable read",)]
    finally:
        connection.close()


def test_a_broken_connection_is_told_as_one_that_may_be_tried_again(transactional_db):
    [(pid,)] = rows("SELECT pg_backend_pid()")
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    other.close()
    with pytest.raises(OperationalError) as refusal:
        rows("SELECT 1")
    assert db.is_retryable(refusal.value)
    connection.close()
    assert rows("SELECT 1") == [(1,)]


def test_a_plan_that_its_table_has_outgrown_is_made_anew(transactional_db, monkeypatch):
    monkeypatch.setattr(wire, "SLOW", 0.0)
    db.run_script("CREATE TABLE grows (id bigint PRIMARY KEY); ANALYZE grows")
    joined = "SELECT count(*) FROM unnest(%s::bigint[]) AS w(id) JOIN grows g ON g.id = w.id"

    def plan_of_a_worker():
        """Execute the statement, until its session has planned it anew if it does, and return the plan."""
        monkeypatch.setattr(wire, "REPLANS", (0.0, 0.0))
        for _ in range(2):
            rows(joined, [[1, 2, 3]])
        (name,) = rows("SELECT name FROM pg_prepared_statements WHERE statement LIKE 'SELECT count(*) FROM unnest%%'")[
            0
        ]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN EXECUTE {name}('{{1,2,3}}')")
            return "\n".join(line for (line,) in cursor.fetchall())

    def work():
        db.serve_worker(by_index=True)
        try:
            small = plan_of_a_worker()
            rows("INSERT INTO grows SELECT generate_series(1, 10000) RETURNING 1")
            return small, plan_of_a_worker()
        finally:
            connections.close_all()

    try:
        with ThreadPoolExecutor(1) as thread:
            small, large = thread.submit(work).result(30)
    finally:
        db.run_script("DROP TABLE grows")
    assert "Index Cond" not in small, "what this is about"
    assert "Index Cond" in large
