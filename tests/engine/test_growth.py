"""Statements of a settle touch as many rows as there are things to settle, and never one set for each of another."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection

from django_workflow import Retry, db, testing
from django_workflow.db import sessions, wire
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from tests.plans import EXPLAINABLE

SMALL, LARGE = 40, 160
#: Four times the things touch four times the rows, and ids are drawn in blocks; a square would touch sixteen times.
LINEAR = 6
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON)"


def executed(connection, sql, params):
    """Execute a statement, take it back, and return its plan."""
    send = connection.pgconn.exec_
    is_idle = connection.pgconn.transaction_status == wire.IDLE
    send(b"BEGIN" if is_idle else b"SAVEPOINT before")
    # prepared, for a worker's plans know nothing of the values
    send(b"PREPARE growing AS " + wire.numbered(sql))
    values = ", ".join("NULL" if param is None else "'" + param.replace("'", "''") + "'" for param in params)
    answer = send(f"{EXPLAIN} EXECUTE growing({values})".replace("()", "").encode())
    assert answer.ntuples, answer.error_message.decode()
    send(b"DEALLOCATE growing")
    send(b"ROLLBACK" if is_idle else b"ROLLBACK TO before")
    return json.loads(answer.get_value(0, 0))[0]["Plan"]


def rows(node):
    """Return how many rows a plan goes through, those that a filter throws away included."""
    own = node["Actual Rows"] + sum(value for key, value in node.items() if key.startswith("Rows Removed by"))
    return own * node["Actual Loops"] + sum(rows(child) for child in node.get("Plans", ()))


def blocks(node):
    """Return how many blocks a plan looks at."""
    return node["Shared Hit Blocks"] + node["Shared Read Blocks"]


@pytest.fixture
def touched_by(monkeypatch, transactional_db, workflow_queues):
    """Return how many rows, or blocks, a function's statements touch, executed and planned as in a worker."""
    for name, value in (("is_worker", True), ("is_by_index", True), ("set_up", None)):
        monkeypatch.setattr(sessions._worker, name, value)

    def measure(function, count=rows):
        execute, counts = wire.Session.execute, []

        def counting(session, connection, sql, params):
            if sql.split(maxsplit=1)[0] in EXPLAINABLE:
                counts.append(count(executed(connection, sql, params)))
            return execute(session, connection, sql, params)

        with monkeypatch.context() as patch:
            patch.setattr(wire.Session, "execute", counting)
            function()
        return sum(counts)

    yield measure
    connection.close()
    db.forget_drawn_ids()


def claimed(count):
    tasks = claim.claim("default", count, slots=count, lease=60)
    assert len(tasks) == count
    return tasks


def grows_with(touched_by, prepare):
    """Return by what factor the rows that a settle touches grow, from a small to a large number of things."""
    counts = []
    for size in (SMALL, LARGE):
        testing.clean_queues()  # so that what is claimed is of the new run
        outcomes = prepare(size)
        counts.append(touched_by(lambda outcomes=outcomes: settle(outcomes)))
    small, large = counts
    assert small > SMALL
    return large / small


def test_a_square_would_be_noticed(touched_by):
    square = "SELECT count(*) FROM unnest(%s::bigint[]) AS a(id) JOIN unnest(%s::bigint[]) AS b(id) ON a.id = b.id"
    few, many = (touched_by(lambda ids=list(range(size)): db.rows(square, [ids, ids])) for size in (SMALL, LARGE))
    assert many / few > 10


@pytest.mark.parametrize("max_parallel", [None, 7])
def test_a_map_over_a_steps_output(touched_by, make_flow, max_parallel):
    def prepare(size):
        flow = make_flow(f"mapping_{size}")
        flow.step(name="source")(lambda: list(range(size)))
        flow.map(name="each", over="source", max_parallel=max_parallel)(lambda item: item)
        flow.start()
        return [testing.perform(task) for task in claimed(1)]

    assert grows_with(touched_by, prepare) < LINEAR


def test_a_wide_step_and_its_join(touched_by, make_flow):
    def fanned(size):
        flow = make_flow(f"fan_{size}")
        flow.step(name="root")(lambda: None)
        names = [f"step_{number}" for number in range(size)]
        for name in names:
            flow.step(name=name, depends_on=["root"])(lambda: None)
        flow.step(name="end", depends_on=names)(lambda: None)
        flow.start()
        return [testing.perform(task) for task in claimed(1)]

    def joining(size):
        settle(fanned(size))
        return [testing.perform(task) for task in claimed(size)]

    assert grows_with(touched_by, fanned) < LINEAR
    assert grows_with(touched_by, joining) < LINEAR


def test_arrivals_at_a_join_one_pile_after_the_other(touched_by, make_flow):
    counts = []
    for size in (SMALL, LARGE):
        flow = make_flow(f"piles_{size}")
        names = [f"step_{number}" for number in range(size)]
        for name in names:
            flow.step(name=name)(lambda: None)
        flow.step(name="end", depends_on=names)(lambda: None)
        flow.start()
        outcomes = [testing.perform(task) for task in claimed(size)]
        settle(outcomes[:-10])
        counts.append(touched_by(lambda outcomes=outcomes: settle(outcomes[-10:])))
        testing.run_until_idle()
    assert counts[1] / counts[0] < LINEAR


@pytest.mark.parametrize("delay", [timedelta(milliseconds=1), timedelta(hours=1)])
def test_retries_and_releases(touched_by, make_flow, delay):
    def failing(size):
        flow = make_flow(f"failing_{size}")
        flow.map(name="each", over="input", retry=Retry(base=delay, jitter=False))(lambda item: 1 / 0)
        flow.start(list(range(size)))
        return [testing.perform(task) for task in claimed(size)]

    def released(size):
        flow = make_flow(f"released_{size}")
        flow.map(name="each", over="input")(lambda item: item)
        flow.start(list(range(size)))
        return [outcome.released(task, "the worker is stopping") for task in claimed(size)]

    assert grows_with(touched_by, failing) < LINEAR
    assert grows_with(touched_by, released) < LINEAR


def test_a_step_that_fails_and_cancels_its_other_items(touched_by, make_flow):
    def failing(size):
        flow = make_flow(f"cancelling_{size}")
        flow.map(name="each", over="input", retry=Retry(max_attempts=1))(lambda item: 1 / 0)
        flow.start(list(range(size)))
        return [testing.perform(task) for task in claimed(1)]

    assert grows_with(touched_by, failing) < LINEAR


def test_a_claim_reads_no_large_input_for_each_of_its_tasks(touched_by, flow):
    flow.map(name="each", over="input.items")(lambda item: item)
    flow.start({"items": list(range(SMALL)), "rest": "".join(chr(n * 7919 % 50_000 + 100) for n in range(200_000))})
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(pg_column_size(input)) / 8192 FROM django_workflow_run")
        (of_the_input,) = cursor.fetchone()
    assert of_the_input > 40
    assert touched_by(lambda: claimed(SMALL), blocks) < SMALL * of_the_input
