"""What `together` promises, and what it leaves behind."""

from __future__ import annotations

import pytest
from django.db import ProgrammingError, connection, transaction

from django_workflow.db import execute, notify_after_commit, rows, together

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
