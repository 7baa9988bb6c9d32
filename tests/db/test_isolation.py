"""READ COMMITTED for all the package does, whatever the role, the database or the server says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction

from django_workflow import db
from django_workflow.exceptions import NotSupported
from tests.defaults import defaults

LEVEL = "SELECT current_setting('transaction_isolation')"
SETTINGS = """
    SELECT current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'),
           current_setting('default_transaction_deferrable'), current_setting('statement_timeout'),
           current_setting('lock_timeout'), current_setting('transaction_timeout', true)
"""


@pytest.fixture
def session(transactional_db):
    """Call functions in a thread with a connection of its own, where transactions are REPEATABLE READ by default."""
    with defaults(default_transaction_isolation="repeatable read"), ThreadPoolExecutor(1) as pool:
        yield lambda function: pool.submit(function).result(30)
        pool.submit(connections.close_all).result(30)


@pytest.fixture
def simple(make_flow):
    flow = make_flow()
    flow.step(name="only")(lambda input: input)
    return flow


def level():
    return db.rows(LEVEL)[0][0]


def level_for_django():
    with connection.cursor() as cursor:
        cursor.execute(LEVEL)
        return cursor.fetchone()[0]


def levels_of_own_transactions():
    with db.atomic():
        first = level(), level_for_django()
    with db.atomic():
        second = level_for_django(), level()
    return {*first, *second}


def level_of_the_callers():
    with transaction.atomic():
        return level()


def test_transactions_of_the_package_are_read_committed_and_those_of_the_site_what_they_were(session):
    assert session(level_of_the_callers) == "repeatable read"
    assert session(levels_of_own_transactions) == {"read committed"}
    assert session(level_of_the_callers) == "repeatable read"


def test_after_an_error_the_connection_is_what_it_was(session):
    def fail():
        with db.atomic():
            db.rows("SELECT 1/0")

    with pytest.raises(Exception, match="division by zero"):
        session(fail)
    assert session(level_of_the_callers) == "repeatable read"


def test_in_a_transaction_of_another_level_runs_are_started_and_not_changed(session, simple):
    simple.start(1)  # which publishes the flow

    @transaction.atomic
    def start_and_cancel():
        run = simple.start(1)
        with pytest.raises(NotSupported, match="This transaction is REPEATABLE READ"):
            run.cancel()
        return run

    assert session(start_and_cancel).status == "running"


def test_execute_is_refused_in_a_transaction_of_another_level_before_it_begins(session, simple):
    @transaction.atomic
    def execute():
        with pytest.raises(NotSupported, match="This transaction is REPEATABLE READ"):
            simple.execute(1)

    session(execute)
    assert session(lambda: simple.execute(1)).status == "succeeded"


def test_a_workers_sessions_are_what_it_needs_whatever_the_database_says(transactional_db, simple):
    def settings():
        db.serve_worker()
        return db.rows(SETTINGS)[0]

    given = {
        "default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
        "default_transaction_deferrable": "on", "statement_timeout": "20s", "lock_timeout": "10ms",
    }  # fmt: skip
    with defaults(**given):
        found = db.on_own_connection(settings)
    assert found[:5] == ("read committed", "off", "off", "0", "0")
    assert found[5] in ("0", None)


def test_a_worker_works_where_transactions_are_serializable_and_read_only_by_default(transactional_db, make_flow, work):
    flow = make_flow(entry=["left", "right"])
    flow.step(name="left", next="meet")(lambda: 1)
    flow.step(name="right", next="meet")(lambda: 1)
    flow.map(name="meet", over="input", join="all")(lambda item: item)
    runs = flow.start_many([[1, 2, 3]] * 5)
    with defaults(default_transaction_isolation="serializable", default_transaction_read_only="on"):
        worker = work(drain=True)
        worker.join()
    assert [run.status for run in runs] == ["succeeded"] * 5
