"""What the run page costs the database: a fixed number of statements, whatever the size of the run."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import testing
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Worker
from django_workflow.read.run import course, history, results, steps, tasks
from django_workflow.worker.local import perform
from tests.web.stories import rich_run

#: Of the login; not counted.
OTHERS = ("django_session", "auth_user", "auth_permission", "auth_group", "django_content_type")


@pytest.fixture
def cost(client_of, operator):
    """Count the statements of a page besides those for session, user and permissions."""
    client = client_of(operator)

    def count(handle, query=""):
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"/workflow/runs/{handle.id}/{query}").status_code == 200
        return len([item for item in captured if not any(table in item["sql"] for table in OTHERS)])

    return count


def half_done(make_flow, items):
    """A run in the middle of a map."""
    flow = make_flow()
    flow.step(name="first")(lambda input: input)
    flow.map(name="each", over="first")(lambda item: item)
    flow.step(name="last", depends_on=["each"])(lambda: 1)
    handle = flow.start(list(range(items)))
    for _ in range(2):
        settle([perform(task) for task in claim.claim("default", 10, slots=10, lease=60.0)])
    return handle


@pytest.mark.parametrize("query", ["", "?step=each", "?step=each&item=15", "?step=first", "?step=each&status=queued"])
def test_map_of_2000_items_costs_as_many_statements_as_one_of_20(make_flow, cost, db, query):
    Worker.objects.create(hostname="here", pid=1, queues=["default"], concurrency=1, lease_seconds=60)
    few = half_done(make_flow, 20)
    expected = cost(few, query)
    few.cancel()
    assert cost(half_done(make_flow, 2000), query) == expected


def test_plain_page_costs_at_most_six(make_flow, cost, db):
    assert cost(half_done(make_flow, 20)) <= 6
    assert cost(rich_run(make_flow)) <= 6


def test_panel_costs_at_most_four_more(make_flow, cost, db):
    Worker.objects.create(hostname="here", pid=1, queues=["default"], concurrency=1, lease_seconds=60)
    handle = half_done(make_flow, 20)
    for query in ("?step=each", "?step=each&item=0", "?step=each&item=19", "?step=first", "?task=1"):
        assert cost(handle, query) <= 9
    rich = rich_run(make_flow)
    for query in ("?step=pack&item=3", "?step=ship", "?step=restock"):
        assert cost(rich, query) <= 9


def test_statements_find_by_index(make_flow, db):
    """With many other rows around, nothing is found by reading a table from its beginning to its end."""
    handle = rich_run(make_flow)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        run = handle.run
        statements = [
            (steps.READ_STEPS, [run.pk, True, run.pk]),
            (course.READ_WAYS, [run.pk, "{pack}", run.pk]),
            (course.READ_PASSES, ["{pack,ship}", "{0,0}", "{t,f}", run.pk, True, 9, 0, run.pk, False, 9, 0]),
            (steps.READ_STEP_RUN, [3, run.pk]),
            (course.READ_NEIGHBOURS, [1, False, run.pk, "x", 0, 3, 9, run.pk, 3, "{ship}", 9, run.pk, 3, 9]),
            (tasks.READ_TASKS, ["{1,2}", 3, "", "", 50, 0, True, 5]),
            (tasks.READ_TASK, [True, 9, True, 9, True, 9, True, 9, 5, run.pk, None, 3, None, None]),
            (history.READ_LINES, [1, 9, 9]),
            (results.READ_OUTPUTS, [9, "{1,2}", 9, 9]),
            (history.READ_EVENTS, [True, True, run.pk, 99, "", "", "", "", 9]),
        ]
        for sql, params in statements:
            cursor.execute(f"EXPLAIN {sql}", params)
            plan = "\n".join(row[0] for row in cursor.fetchall())
            for line in plan.splitlines():
                assert "Seq Scan on" not in line or "worker" in line, plan


def test_page_of_a_finished_run_needs_no_queue(make_flow, cost, db):
    handle = half_done(make_flow, 20)
    testing.run_until_idle()
    assert cost(handle, "?step=each&item=3") <= 9
