"""No list touches more runs than it says, also by plans that are made for any parameters.

Statements are prepared once per session, and after some executions PostgreSQL may plan them for all parameters at
once; the plans of a test's cursors, made for the values at hand, would not show it.
"""

from __future__ import annotations

import json

import pytest
from django.db import connection
from django.http import QueryDict

from django_workflow import db
from django_workflow.db.statements import _text
from django_workflow.db.wire import numbered
from django_workflow.models import Run
from django_workflow.read import counts, queues, runs, search
from django_workflow.read.run import durations
from django_workflow.web.runs import query_string
from tests.web.filling import fill
from tests.web.test_finding import QUERIES

COUNT = 40_000
#: Rows that a statement may touch: a window, and what is read besides.
MOST = search.WINDOW + search.FEW + 500


STEPS = """
    INSERT INTO django_workflow_steprun (run_id, step, status, started_at, ended_at)
    SELECT id, 'work', 'succeeded', started_at, ended_at FROM django_workflow_run WHERE status = 'succeeded';
    ANALYZE django_workflow_steprun
"""


@pytest.fixture
def many(transactional_db):
    flows = fill(COUNT)
    with connection.cursor() as cursor:
        cursor.execute(STEPS)
    return flows


@pytest.fixture
def touched(monkeypatch):
    """Statements that were executed since, with the most rows that a step of their generic plan touched."""
    found = {}
    rows = db.rows

    def watched(sql, params=()):
        values = [None if value is None else _text(value) if not isinstance(value, str) else value for value in params]
        found[numbered(sql).decode(), tuple(values)] = None
        return rows(sql, params)

    def look():
        with connection.cursor() as cursor:
            cursor.execute("SET plan_cache_mode = force_generic_plan")
            try:
                return {sql: most_rows(cursor, sql, values) for sql, values in found}
            finally:
                cursor.execute("RESET plan_cache_mode")
                found.clear()

    monkeypatch.setattr(db, "rows", watched)
    return look


def most_rows(cursor, sql, values):
    cursor.connection.cursor().execute(f"PREPARE looked_at AS {sql}")
    try:
        arguments = ", ".join(["%s"] * len(values))
        call = f"EXECUTE looked_at({arguments})" if values else "EXECUTE looked_at"
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {call}", list(values))
        plan = cursor.fetchone()[0]
    finally:
        cursor.execute("DEALLOCATE looked_at")
    return max(rows_of((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))


def rows_of(node):
    """Yield the rows that each step of a plan touched."""
    passed = sum(node.get(key, 0) for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    yield passed * node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from rows_of(child)


def test_searches_touch_a_window_of_runs(many, touched):
    everybody = list(many.values())
    for visible in (None, [many["imports"].pk, many["rare"].pk]):
        for query in QUERIES:
            search.find(query_string.read(QueryDict(query), everybody, ["default", "slow"]), visible)
            for sql, rows in touched().items():
                assert rows <= MOST, f"{query}: {rows} rows: {sql}"


def test_counts_and_the_board_touch_some_runs(many, touched):
    everybody = list(many.values())
    for visible in (None, [many["imports"].pk, many["rare"].pk]):
        counts.count(visible)
        counts.figures(visible)
        runs.running(everybody, visible)
        runs.latest(everybody, visible)
        found, _ = queues.read()
        queues.read_depths(found)
        for sql, rows in touched().items():
            assert rows <= MOST, f"{rows} rows: {sql}"


def test_how_the_runs_of_a_page_stand_touches_what_is_theirs(many, touched):
    durations.read(list(Run.objects.order_by("-id")[: search.PAGE]))
    for sql, rows in touched().items():
        assert rows <= 10 * search.PAGE, f"{rows} rows: {sql}"
