"""What `together` promises, and what it leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_workflow.db import execute, notify_after_commit, rows, together
from django_workflow.db.statements import as_values

INSERT = "INSERT INTO django_workflow_queue (name) VALUES (%s)"
NAMES = "SELECT name FROM django_workflow_queue WHERE name LIKE 'together_%%' ORDER BY name"
HINT = [("django_workflow_queue", "together_a")]


def names():
    return [name for (name,) in rows(NAMES)]


def write_and_fail():
    with together():
        execute(INSERT, ["together_a"])
        execute("SELECT no_such_function()")


def read_and_stop():
    with together():
        execute(INSERT, ["together_a"])
        names()
        raise ValueError("stop")


def test_writes_and_a_notification_leave_no_transaction_open(transactional_db):
    with together():
        execute(INSERT, ["together_a"])
        notify_after_commit(HINT)
    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    assert names() == ["together_a"]


def test_several_writes_take_effect_or_none(transactional_db):
    with pytest.raises(ProgrammingError):
        write_and_fail()
    assert names() == []
    assert not connection.in_atomic_block


def test_a_read_sees_what_was_executed_before_it(transactional_db):
    with together():
        execute(INSERT, ["together_a"])
        assert names() == ["together_a"]
        execute(INSERT, ["together_b"])
    assert names() == ["together_a", "together_b"]
    assert not connection.in_atomic_block


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
    with django_capture_on_commit_callbacks() as callbacks, together():
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
    parts = [[f"together_{part}_{number}" for number in range(1500)] for part in range(4)]
    with CaptureQueriesContext(connection) as captured, together():
        for part in parts:
            execute(insert, [part])
    assert sum("INSERT" in query["sql"] for query in captured.captured_queries) == 2
    assert len(names()) == 6000
