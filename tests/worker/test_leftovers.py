"""What a handler leaves in its thread, on its loop or in its process is not there for the next one."""

from __future__ import annotations

import contextvars
import decimal
import os
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import translation

from django_workflow import Retry, testing
from django_workflow.worker.jobs.session_watch import changes_session
from tests.worker.site import workflows
from tests.worker.site.leaving import FRESH, leave, seen


@pytest.mark.parametrize("kind", ["plain", "atomic", "coroutine"])
def test_what_a_handler_sets_in_its_context_ends_with_it(flow, drain, kind):
    if kind == "coroutine":

        @flow.map(count=4)
        async def each():
            return leave()
    else:

        @flow.map(count=4, atomic=kind == "atomic")
        def each():
            return leave()

    handle = flow.start()
    drain(concurrency=1)
    assert testing.assert_settled(handle)["each"] == [FRESH] * 4


@pytest.mark.slow
def test_a_child_process_performs_each_job_as_its_first_one(site, drain):
    handle = workflows.leaving.start()
    drain(concurrency=1)
    result = testing.assert_settled(handle)
    assert {pid for pid, _ in result["plain"]} != {os.getpid()}
    assert [state for _, state in result["plain"] + result["coroutine"]] == [[FRESH, '"$user", public']] * 6


@pytest.mark.parametrize("kind", ["plain", "atomic", "coroutine"])
def test_a_local_handler_changes_nothing_in_the_context_of_its_caller(flow, db, kind):
    if kind == "coroutine":

        @flow.map(count=2)
        async def each():
            return leave()
    else:

        @flow.map(count=2, atomic=kind == "atomic")
        def each():
            return leave()

    with translation.override("de"), decimal.localcontext() as numbers:
        numbers.prec = 11
        # the caller's own language and numbers are there for its handlers
        assert flow.execute()["each"] == [[*FRESH[:1], "de", *FRESH[2:3], 11]] * 2
        assert seen() == [*FRESH[:1], "de", *FRESH[2:3], 11]


def test_conditions_and_strategies_leave_nothing_to_the_thread_that_decides(flow, run, unique):
    states = []

    def soon(failures):
        states.append(leave())
        return timedelta(0)

    @flow.step(retry=Retry(max_attempts=3, strategy=soon))
    def fails(ctx):
        if ctx.attempt < 3:
            raise LookupError

    @flow.step(when=lambda outputs: bool(states.append(leave())) or True)
    def last(fails):
        return seen()

    result = run(flow)
    assert result["last"] == FRESH
    assert len(states) >= 3
    assert states == [FRESH] * len(states)


SETTINGS = """
    SELECT current_setting('search_path'), current_setting('app.tenant', true), current_setting('statement_timeout'),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        to_regclass('pg_temp.left_behind') IS NULL, current_user = session_user
"""


def change_session(index):
    """Tell the session's state, and change it in one of the ways there are."""
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        state = list(cursor.fetchone())
        ways = [
            lambda: cursor.execute("SET search_path TO pg_catalog"),
            lambda: cursor.execute("  set session statement_timeout = '1min'"),
            lambda: cursor.execute("SELECT set_config(%s, %s, false)", ["app.tenant", "7"]),
            lambda: connection.connection.execute("SET app.tenant TO '8'"),
            lambda: cursor.execute("SELECT pg_advisory_lock(4711)"),
            lambda: cursor.execute("CREATE TEMP TABLE left_behind ()"),
            lambda: cursor.execute("SELECT 1; /* then */ SET ROLE pg_monitor"),
        ]
        ways[index % len(ways)]()
    return state


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
@pytest.mark.parametrize("max_age", [0, None])
def test_what_a_handler_does_to_its_session_ends_with_it(flow, drain, kind, max_age, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", max_age)
    if kind == "plain":

        @flow.map(count=14)
        def each(index):
            return change_session(index)
    else:

        @flow.map(count=14)
        async def each(index):
            return await sync_to_async(change_session)(index)

    handle = flow.start()
    drain(concurrency=1)
    fresh = ['"$user", public', None, "0", 0, True, True]
    states = testing.assert_settled(handle)["each"]
    assert [[*state[:1], state[1] or None, *state[2:]] for state in states] == [fresh] * 14


def test_a_session_that_was_not_changed_serves_the_next_handler(flow, drain, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)

    @flow.map(count=5)
    def each(index):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO public")
            Group.objects.create(name=f"group {index}")
            cursor.execute("SELECT set_config('app.tenant', '7', true), pg_backend_pid(), pg_advisory_xact_lock(1)")
            return cursor.fetchone()[1]

    handle = flow.start()
    drain(concurrency=1)
    assert len(set(testing.assert_settled(handle)["each"])) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SET search_path = x", "set time zone 'UTC'", " \n SET ROLE x", "RESET ALL", "DISCARD ALL", "LISTEN x",
        "SELECT set_config('a.b', '1', false)", "SELECT set_config(%s, %s, %s)", "SELECT pg_try_advisory_lock(1, 2)",
        "SELECT 1; SET a = 1", "/* hint */ SET a = 1", "CREATE TEMPORARY TABLE x ()", "create local temp table x ()",
        "SELECT 1 INTO TEMP x", "PREPARE x AS SELECT 1", "DECLARE x CURSOR WITH HOLD FOR SELECT 1", "LOAD 'x'",
    ],
)  # fmt: skip
def test_statement_that_changes_the_session_is_known(sql):
    assert changes_session(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1", "UPDATE x SET a = 1", "UPDATE x\nSET a = 1", "SET LOCAL a = 1", "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL IMMEDIATE", "SELECT set_config('a.b', %s, true)", "SELECT pg_advisory_xact_lock(1)",
        "CREATE TABLE x ()", "PREPARE TRANSACTION 'x'", "SELECT temperature FROM settings", "SAVEPOINT x",
        "SELECT 1; SELECT 2",
    ],
)  # fmt: skip
def test_other_statements_are_not_taken_for_one(sql):
    assert not changes_session(sql)


def test_the_states_that_these_tests_compare_are_told_apart():
    assert contextvars.copy_context().run(lambda: (leave(), seen())[1]) != FRESH
    assert seen() == FRESH
