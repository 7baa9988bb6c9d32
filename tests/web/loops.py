"""Runs that turn in loops, split, join and decide: what the pages show of them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction

from django_workflow import Otherwise, Retry, To, When, testing
from django_workflow.models.triggers import RETENTION_SETTING
from tests.web.ids import raise_ids

ONCE = Retry(max_attempts=1)
SECOND = timedelta(seconds=1)


def watch_flow(make_flow, ready=5, **options):
    """A flow that looks again and again until something is ready."""
    flow = make_flow("watch", title="Watch a build", entry=["probe"], vars={"seen": 0}, **options)

    @flow.step(
        next=[
            When(f"result.number >= {ready}", to="report", publish={"seen": "result.number"}),
            When("result.number < 0", to="fail"),
            Otherwise(to="probe", publish={"seen": "result.number"}),
            To("noop", on="failed"),
        ],
        retry=ONCE,
    )
    def probe(ctx):
        return {"number": ctx.iteration}

    @flow.step
    def report(ctx):
        return {"seen": ctx.vars["seen"]}

    return flow


def triangle_flow(make_flow, rounds=300):
    """A loop over three steps, with two ways between two of them, and a way out."""
    flow = make_flow("triangle", entry=["draft"], max_iterations=100_000)
    flow.step(name="draft", next="review")(lambda ctx: ctx.iteration)
    flow.step(
        name="review",
        next=[
            When(f"iteration < {rounds} and iteration % 2 == 0", to="revise"),
            When(f"iteration < {rounds} and iteration % 2 == 1", to="revise"),
            When(f"iteration >= {rounds}", to="publish_it"),
        ],
    )(lambda: 1)
    flow.step(name="revise", next=[To("draft")])(lambda: 1)
    flow.step(name="publish_it")(lambda: 1)
    return flow


def split_flow(make_flow):
    """Three sources reach a step without a join: it is activated for each, and what follows it, too."""
    flow = make_flow("split", entry=["mail", "phone", "counter"], output={"orders": "outputs.check"})
    for name in ("mail", "phone", "counter"):
        flow.step(name=name, next=[To("take", publish={"channel": f"'{name}'"})])(lambda: 1)
    flow.step(name="take", next=["check", "stock"])(lambda ctx: ctx.vars["channel"])
    flow.step(name="check", next="ship")(lambda ctx: ctx.vars["channel"])
    flow.step(name="stock", next="ship")(lambda: 1)
    flow.step(name="ship", join="all")(lambda ctx: ctx.vars["channel"])
    return flow


def finished(flow, value=None):
    """Start a run and work until it has come to its end."""
    handle = flow.start(value)
    testing.run_until_idle(limit=100_000)
    return handle


LONG = """
    INSERT INTO django_workflow_steprun
        (id, run_id, step, scope, iteration, source_id, status, task_count, open_tasks, created_at, started_at,
         ended_at)
    SELECT base.id + n, %(run)s, %(step)s, 0, n, CASE WHEN n > 1 THEN base.id + n - 1 END, 'succeeded', 1, 0,
           base.at + n * interval '5 ms', base.at + n * interval '5 ms',
           base.at + n * interval '5 ms' + interval '4 ms'
    FROM (SELECT nextval(pg_get_serial_sequence('django_workflow_steprun', 'id')) AS id,
                 clock_timestamp() - interval '1 day' AS at) base, generate_series(1, %(count)s) n
    RETURNING id
"""
TASKS = """
    INSERT INTO django_workflow_task
        (run_id, step_run_id, index, status, queue, attempt, created_at, begun_at, ended_at)
    SELECT run_id, id, 0, 'succeeded', 'default', 1, created_at, started_at, ended_at
    FROM django_workflow_steprun WHERE run_id = %(run)s AND step = %(step)s
      AND id NOT IN (SELECT step_run_id FROM django_workflow_task WHERE run_id = %(run)s)
"""


def turned(run_id: UUID, step: str, count: int) -> None:
    """Let a step of a run have turned so often, by one statement."""
    values = {"run": run_id, "step": step, "count": count}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, 'on', true)", [RETENTION_SETTING])
        cursor.execute("DELETE FROM django_workflow_task WHERE run_id = %(run)s", values)
        cursor.execute("DELETE FROM django_workflow_steprun WHERE run_id = %(run)s", values)
        cursor.execute(LONG, values)
        last = max(row[0] for row in cursor.fetchall())
        raise_ids("steprun", last + 1)
        cursor.execute(TASKS, values)
