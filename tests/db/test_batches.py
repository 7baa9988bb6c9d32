"""What a batch promises, and what it leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_workflow.db import add, batch, execute, notify_after_commit, rows, then
from django_workflow.db.statements import as_values

INSERT = "INSERT INTO django_workflow_queue (name) VALUES (%s)"
NAMES = "SELECT name FROM django_workflow_queue WHERE name LIKE 'batch_%%' ORDER BY name"
HINT = [("django_workflow_queue", "batch_a")]


def names():
    return [name for (name,) in rows(NAMES)]


def write_and_fail():
    with batch():
        add(INSERT, ["batch_a"])
        add("SELECT no_such_function()")


def read_and_stop():
    with batch():
        add(INSERT, ["batch_a"])
        names()
        raise ValueError("stop")


def test_writes_and_a_notification_leave_no_transaction_open(transactional_db):
    with batch():
        add(INSERT, ["batch_a"])
        notify_after_commit(HINT)
    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    assert names() == ["batch_a"]


def test_several_writes_take_effect_or_none(transactional_db):
    with pytest.raises(ProgrammingError):
        write_and_fail()
    assert names() == []
    assert not connection.in_atomic_block


def test_a_read_sees_what_was_added_before_it(transactional_db):
    with batch():
        add(INSERT, ["batch_a"])
        assert names() == ["batch_a"]
        add(INSERT, ["batch_b"])
    assert names() == ["batch_a", "batch_b"]
    assert not connection.in_atomic_block


RENAME = "UPDATE django_workflow_queue SET name = name || 'x' WHERE name LIKE 'batch_%%'"


def test_what_is_added_sees_nothing_that_is_added_beside_it(transactional_db):
    with batch():
        add(INSERT, ["batch_a"])
        add(RENAME)
    assert names() == ["batch_a"]


@pytest.mark.parametrize("write", [then, execute])
def test_what_is_added_behind_others_or_executed_sees_them(transactional_db, write):
    with batch():
        add(INSERT, ["batch_a"])
        write(RENAME)
    assert names() == ["batch_ax"]


def test_what_comes_then_is_sent_with_what_is_added_after_it(transactional_db):
    with CaptureQueriesContext(connection) as captured, batch():
        add(INSERT, ["batch_a"])
        then(RENAME)
        add(INSERT, ["batch_b"])
    assert names() == ["batch_ax", "batch_b"]
    assert sum("django_workflow_queue" in query["sql"] for query in captured.captured_queries) == 2


@pytest.mark.parametrize("write", [add, then, execute])
def test_without_a_batch_a_write_is_made_at_once(transactional_db, write):
    write(INSERT, ["batch_a"])
    assert names() == ["batch_a"]


def test_an_error_of_the_block_takes_back_what_was_sent_already(transactional_db):
    with pytest.raises(ValueError, match="stop"):
        read_and_stop()
    assert names() == []


def test_what_is_refused_leaves_the_callers_transaction_usable(db):
    with transaction.atomic():
        with pytest.raises(ProgrammingError):
            write_and_fail()
        assert names() == []


def test_a_notification_waits_for_the_callers_commit(db, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks, batch():
        notify_after_commit(HINT)
    assert len(callbacks) == 1


SETS = """
    WITH a AS (SELECT * FROM unnest(%s::bigint[], %s::text[]) WITH ORDINALITY AS a(id, name, place)),
         b AS (SELECT * FROM unnest(%s::timestamptz[]) AS b(at))
    SELECT a.*, b.at, %s::text, %s::bigint[] FROM a, b ORDER BY a.place
"""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_small_sets_are_passed_as_values_and_large_ones_as_arrays():
    small = [[7], ['a "quoted" \\ text'], [NOON], "between", [1, 2]]
    sql, params = as_values(SETS, small)
    assert "unnest" not in sql
    assert params == [7, 'a "quoted" \\ text', NOON, "between", [1, 2]]
    large = [[1, 2, 3], ["a", "b", "c"], [NOON], "between", []]
    assert as_values(SETS, large) == (SETS, large)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_set_means_the_same_however_it_is_passed(db, count):
    ids, names = list(range(count)), [None, "b", "c"][:count]
    expected = [(number, name, number + 1, NOON, "x", [5]) for number, name in zip(ids, names, strict=True)]
    assert rows(SETS, [ids, names, [NOON], "x", [5]]) == expected


def test_many_rows_are_sent_in_several_statements(transactional_db):
    insert = "INSERT INTO django_workflow_queue (name) SELECT name FROM unnest(%s::text[]) AS n(name)"
    parts = [[f"batch_{part}_{number}" for number in range(1500)] for part in range(4)]
    with CaptureQueriesContext(connection) as captured, batch():
        for part in parts:
            add(insert, [part])
    assert sum("INSERT" in query["sql"] for query in captured.captured_queries) == 2
    assert len(names()) == 6000
