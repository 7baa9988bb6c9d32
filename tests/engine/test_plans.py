"""Statements of the engine find their rows by index, and there are few of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import Retry, To, When, db, testing
from django_workflow.engine.due import agenda, deadlines, delayed_tasks, lost_local_runs, lost_messages
from django_workflow.engine.removal import retention
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, leases
from django_workflow.worker.loops.keeper import Keeper
from tests.plans import scanned


def test_scan_would_be_noticed(crowded):
    assert scanned(["SELECT count(*) FROM django_workflow_task WHERE worker_id = 1"])


@pytest.fixture
def story(flow):
    """A flow that uses every kind of step."""
    flow.step(name="root")(lambda: [1, 2, 3])
    flow.map(name="each", over="root", max_parallel=1, tolerate=3, retry=Retry(max_attempts=1))(
        lambda item: 1 / (item - 1)
    )
    flow.step(name="side", depends_on=["root"], when="outputs.root[0] == 1")(lambda input: None)

    @flow.step(retry=Retry(max_attempts=2, base=timedelta(milliseconds=1)))
    def join(each, side, ctx):
        if ctx.attempt == 1:
            raise ValueError
        return [ctx.output("root"), ctx.failures("each")]

    return flow


def test_no_statement_of_a_runs_life_scans_a_hot_table(story, crowded):
    with CaptureQueriesContext(connection) as captured:
        handles = story.start_many([1, 2], idempotency_keys=["a", "b"])
        story.start(1, idempotency_key="a")
        story.start(delay=timedelta(hours=1))
        tasks = claim.claim("default", 100, slots=1, lease=60)
        leases.begin(tasks)
        leases.heartbeat(tasks, 60, {task.id: 0.5 for task in tasks})
        settle([testing.perform(task) for task in tasks])
        for _ in range(3):
            testing.run_until_idle()
            testing.advance(timedelta(seconds=1))
        for handle in handles:
            assert handle.result().is_success
        story.start().cancel()
        late = claim.claim("default", 100, slots=1, lease=60)
        settle([testing.perform(task) for task in late])
        story.execute()
    statements = [
        query["sql"]
        for query in captured.captured_queries
        if "due_at = due_at -" not in query["sql"] and "deadline_at = deadline_at -" not in query["sql"]
    ]
    assert len(set(statements)) > 30
    assert scanned(statements) == {}


@pytest.fixture
def winding(make_flow):
    """A flow that uses every kind of way: loops, joins by generation, splits, variables, delays, a declared output."""
    flow = make_flow("winding", entry=["begin"], vars={"round": 0}, output={"round": "vars.round"})
    flow.step(name="begin", next=["left", "right"])(lambda: 1)
    flow.step(name="left", next=["meet", To("copy", delay=timedelta(milliseconds=1))])(lambda begin: begin)
    flow.step(name="right", next=[To("meet", delay=timedelta(milliseconds=1)), "copy"])(lambda ctx: ctx.vars)
    flow.step(
        name="meet", join="all", next=[When("iteration < 3", to="begin", publish={"round": "iteration"}), To("done")]
    )(lambda left, right: [left, right])
    flow.step(name="copy", next=["one", "two"])(lambda: None)
    flow.step(name="one", next="both")(lambda: None)
    flow.step(name="two", next="both")(lambda: None)
    flow.step(name="both", join="all")(lambda one, ctx: ctx.output("copy"))
    flow.step(name="done", when="outputs.left == 1")(lambda: None)
    return flow


def test_no_statement_of_loops_joins_and_scopes_scans_a_hot_table(winding, crowded):
    with CaptureQueriesContext(connection) as captured:
        handle = winding.start()
        for _ in range(40):
            testing.run_until_idle()
            testing.advance(timedelta(seconds=1))
        assert handle.result().raise_for_status().output == {"round": 2}
        winding.execute()
        paused = winding.start()
        paused.pause()
        paused.resume()
        paused.cancel()
    statements = [query["sql"] for query in captured.captured_queries if "_at = due_at -" not in query["sql"]]
    statements = [sql for sql in statements if "deadline_at = deadline_at -" not in sql]
    assert scanned(statements) == {}


def test_no_statement_of_the_keeper_scans_a_hot_table(story, crowded):
    story.start_many(range(3))
    testing.clean_queues()
    with CaptureQueriesContext(connection) as captured:
        Keeper().round()
        delayed_tasks.send_due_tasks()
        deadlines.end_overdue_runs()
        lost_local_runs.end_lost_local_runs()
        lost_messages.reconcile()
        retention.prune(timedelta(days=400))
        retention.prune(timedelta(0), limit=2)
        agenda.has_delayed_tasks(["default"])
        agenda.has_delayed_arrivals(["default"])
    db.close()
    assert scanned(query["sql"] for query in captured.captured_queries) == {}


def test_statements_of_a_settle_do_not_grow_with_its_pile(flow, workflow_queues):
    flow.step(name="first")(lambda: 1)
    flow.step(name="second")(lambda first: 2)
    flow.start_many(range(41))
    counts = []
    for size in (1, 40):
        tasks = claim.claim("default", size, slots=size, lease=60)
        assert len(tasks) == size
        outcomes = [testing.perform(task) for task in tasks]
        with CaptureQueriesContext(connection) as captured:
            settle(outcomes)
        counts.append(len(captured))
    assert counts[1] <= counts[0] + 2
    assert counts[0] <= 14


def test_large_dependency_is_read_once_for_all_its_items(flow, workflow_queues):
    flow.step(name="large")(lambda: "x" * 500_000)
    flow.map(name="each", count=20)(lambda large, index: len(large) + index)
    flow.start()
    (task,) = claim.claim("default", 100, slots=100, lease=60)
    settle([testing.perform(task)])
    with CaptureQueriesContext(connection) as captured:
        tasks = claim.claim("default", 100, slots=100, lease=60)
    assert len(tasks) == 20
    assert len({id(task.dependencies["large"].text) for task in tasks}) == 1
    assert len(captured) <= 4
