"""Executing here and now: in the calling thread, on its connection, with the same rows as a worker's."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_workflow import Retry, WaitTimeout, cancel, db, queue, testing
from django_workflow.engine.due import lost_local_runs
from django_workflow.engine.verbs.start import StartRequest, start
from django_workflow.models import Attempt, Run, Task
from tests.flows.test_failure import spin_until_stopped

SOON = timedelta(milliseconds=1)
SHORT = timedelta(milliseconds=300)


def test_handlers_run_in_the_calling_thread_on_its_connection(flow, db):
    seen = []

    @flow.step
    def only():
        seen.append((threading.get_ident(), Group.objects.create(name="made here").pk))

    flow.execute()
    assert seen[0][0] == threading.get_ident()
    assert Group.objects.filter(pk=seen[0][1]).exists()


def test_result_is_complete(flow, db):
    flow.step(name="one")(lambda: 1)
    flow.map(name="many", count=3)(lambda index: index)
    result = flow.execute({"a": 1}, title="Now", by="ann", labels={"k": "v"})
    assert (result.status, result.is_success, result.error, result.errors) == ("succeeded", True, None, [])
    assert (result["one"], result["many"], result.counts) == (1, [0, 1, 2], {"one": 1, "many": 3})
    assert result.raise_for_status() is result
    run = result.run
    assert (run.pk, run.title, run.started_by, run.labels, run.is_local) == (
        *(result.run_id, "Now", "ann", {"k": "v"}, True),
    )
    assert run.started_at <= run.ended_at


def test_local_run_leaves_no_message(flow, db):
    flow.step(name="flaky", retry=Retry(base=SOON))(lambda ctx: 1 / (ctx.attempt - 1))
    flow.map(name="each", count=3, max_parallel=1)(lambda: None)
    result = flow.execute()
    assert result.is_success
    assert not any(queue.depth(name)[1] for name in queue.existing())
    assert not Task.objects.of_run(result.run_id).filter(message_id__isnull=False).exists()


def test_workers_leave_a_local_run_alone(flow, db):
    others = []

    @flow.step
    def first():
        others.append(testing.run_until_idle())

    flow.step(name="second")(lambda first: "done")
    assert flow.execute().output == {"second": "done"}
    assert others == [0]


def test_retry_waits_here_for_its_time(flow, db):
    moments = []

    @flow.step(retry=Retry(base=timedelta(milliseconds=60), jitter=False))
    def flaky(ctx):
        moments.append(time.monotonic())
        if ctx.attempt == 1:
            raise ValueError

    assert flow.execute().is_success
    assert 0.055 <= moments[1] - moments[0] < 2


def test_coroutine_handlers_run_to_their_end(flow, db):
    @flow.step
    async def first(input):
        await asyncio.sleep(0)
        return input + 1

    @flow.step
    async def second(first, ctx):
        return [first, await ctx.aoutput("first"), await ctx.afailures("first")]

    assert flow.execute(1)["second"] == [2, 2, []]


def test_coroutine_uses_the_callers_connection(flow, db):
    Group.objects.create(name="made in the test's transaction")

    @flow.step
    async def count():
        return await Group.objects.acount()

    assert flow.execute()["count"] == 1


def test_coroutine_past_its_timeout_is_cancelled_and_tried_again(flow, db):
    @flow.step(timeout=SHORT, retry=Retry(max_attempts=2, base=SOON))
    async def slow(ctx):
        if ctx.attempt == 1:
            await asyncio.sleep(30)
        return ctx.attempt

    result = flow.execute()
    assert result["slow"] == 2
    assert Attempt.objects.get(run_id=result.run_id).outcome == "timed_out"


@pytest.mark.parametrize("kind", ["plain", "coroutine", "atomic"])
def test_execute_past_its_timeout_ends_the_run_timed_out_and_stops_the_handler(flow, db, kind):
    if kind == "coroutine":

        @flow.step
        async def slow():
            await asyncio.sleep(30)
    else:

        @flow.step(atomic=kind == "atomic")
        def slow(ctx):
            spin_until_stopped(ctx)

    began = time.monotonic()
    result = flow.execute(timeout=SHORT)
    assert time.monotonic() - began < 5
    assert result.status == "timed_out"
    assert "execute() took longer than its timeout" in result.error["message"]
    testing.assert_settled(result.run_id, "timed_out", steps={"slow": "cancelled"})


def test_execute_past_its_timeout_does_not_wait_for_a_later_retry(flow, db):
    flow.step(name="fails", retry=Retry(base=timedelta(hours=1), jitter=False))(lambda: 1 / 0)
    assert flow.execute(timeout=SHORT).status == "timed_out"


def test_atomic_step_past_its_timeout_is_timed_out_and_tried_again(flow, db):
    @flow.step(atomic=True, timeout=SHORT, retry=Retry(max_attempts=2, base=SOON))
    def slow(ctx):
        Group.objects.create(name=f"attempt {ctx.attempt}")
        if ctx.attempt == 1:
            spin_until_stopped(ctx)
        return ctx.attempt

    result = flow.execute()
    assert result["slow"] == 2
    assert Attempt.objects.get(run_id=result.run_id).outcome == "timed_out"
    assert list(Group.objects.values_list("name", flat=True)) == ["attempt 2"]


def test_handler_may_execute_another_flow(flow, make_flow, db):
    inner = make_flow()

    @inner.step
    def double(input):
        return input * 2

    @flow.step
    def outer(input):
        return inner.execute(input)["double"]

    assert flow.execute(4)["outer"] == 8


def test_execute_inside_a_transaction_is_rolled_back_with_it(flow, workflow_queues):
    flow.step(name="only")(lambda: Group.objects.create(name="inside").pk)
    with transaction.atomic():
        result = flow.execute()
        assert result.is_success
        transaction.set_rollback(True)
    assert not Group.objects.exists()
    assert not Run.objects.filter(pk=result.run_id).exists()


def test_execute_outside_a_transaction_commits_step_by_step(flow, workflow_queues):
    @flow.step
    def first():
        return "first"

    @flow.step
    def second(first, ctx):
        assert not connection.in_atomic_block
        return db.on_own_connection(lambda: list(Task.objects.of_run(ctx.run_id).values_list("output", flat=True)))

    assert flow.execute()["second"] == ["first", None]


def test_failed_handler_leaves_a_test_transaction_usable(flow, db):
    @flow.step(retry=Retry(max_attempts=2, base=SOON))
    def breaks(ctx):
        if ctx.attempt == 1:
            Group.objects.create(name="written before")
            Group.objects.create(name=None)
        return "fine"

    assert flow.execute()["breaks"] == "fine"


def test_failed_handler_keeps_what_it_wrote_where_the_transaction_goes_on(flow, db):
    @flow.step(retry=Retry(max_attempts=1))
    def fails():
        Group.objects.create(name="written before")
        raise ValueError

    assert not flow.execute().is_success
    assert Group.objects.exists()


def test_second_execute_with_the_same_key_waits_for_the_first(flow, workflow_queues):
    entered, may_go = threading.Event(), threading.Event()

    @flow.step
    def only(input):
        entered.set()
        may_go.wait(10)
        return input

    results = []
    first = threading.Thread(target=lambda: results.append(execute_apart(flow, "first")))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=lambda: results.append(execute_apart(flow, "second")))
    second.start()
    may_go.set()
    for thread in (first, second):
        thread.join(10)
    assert [result.output for result in results] == [{"only": "first"}] * 2
    assert Run.objects.get().status == "succeeded"


def execute_apart(flow, value):
    return db.on_own_connection(lambda: flow.execute(value, idempotency_key="k"))


def test_execute_with_the_key_of_a_started_run_leaves_it_to_the_workers(flow, workflow_queues):
    flow.step(name="only")(lambda: "done")
    started = flow.start(idempotency_key="k")
    with pytest.raises(WaitTimeout):
        flow.execute(idempotency_key="k", timeout=SHORT)
    assert started.status == "running"
    assert testing.run_until_idle() == 1
    assert flow.execute(idempotency_key="k").output == {"only": "done"}
    assert Attempt.objects.count() == 0


def test_run_whose_process_vanished_is_ended_as_lost(flow, workflow_queues):
    flow.step(name="only")(lambda: None)
    lost = start(flow.current_spec(), [StartRequest(is_local=True)])[0]
    assert lost_local_runs.end_lost_local_runs() == 1
    run = testing.assert_settled(lost, "failed", steps={"only": "cancelled"}).run
    assert "lost" in run.error["message"]
    assert lost_local_runs.end_lost_local_runs() == 0


def test_run_whose_process_lives_is_not_taken_for_lost(flow, workflow_queues):
    ended = []

    @flow.step
    def only():
        ended.append(db.on_own_connection(lost_local_runs.end_lost_local_runs))

    assert flow.execute().is_success
    assert ended == [0]


def test_lease_is_dropped_at_the_end(flow, workflow_queues):
    flow.step(name="only")(lambda: None)
    flow.execute()
    assert db.rows("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_cancel_from_outside_ends_a_local_run(flow, workflow_queues):
    @flow.step
    def first(ctx):
        db.on_own_connection(lambda: cancel(ctx.run_id, "enough"))

    flow.step(name="second")(lambda first: None)
    result = flow.execute()
    assert (result.status, result.error["message"]) == ("cancelled", "enough")
    testing.assert_settled(result.run_id, "cancelled", steps={"first": "cancelled"})
    attempt = Attempt.objects.get(run_id=result.run_id)
    assert (attempt.outcome, attempt.late_outcome) == ("cancelled", "succeeded")
