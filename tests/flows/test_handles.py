"""Holding a run: reading it, waiting for it, cancelling it, and the async twins of all that."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

import django_workflow
from django_workflow import (
    AlreadySettled,
    RetryAfter,
    RunHandle,
    RunNotFound,
    WaitTimeout,
    cancel,
    db,
    pause_flow,
    testing,
    wait,
)
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Attempt, Event, StepRun, Task
from django_workflow.notifications import RUN_CHANNEL
from tests.waiting import eventually

HOUR = timedelta(hours=1)


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda: "done")
    return flow


def test_handle_reads_the_run_when_asked(simple, db):
    handle = simple.start()
    assert (handle.status, handle.run.status) == ("running", "running")
    testing.run_until_idle()
    assert handle.run.status == "running"  # as it was read
    assert handle.status == "succeeded"
    assert handle.refresh().run.ended_at is not None


def test_handles_of_the_same_run_are_equal(simple, db):
    handle = simple.start()
    assert RunHandle(handle.id) == handle
    assert len({RunHandle(handle.id), handle}) == 1
    assert str(handle.id) in repr(handle)
    assert handle != handle.id


def test_result_of_an_unsettled_run_tells_what_there_is_so_far(simple, db):
    simple.step(name="later")(lambda: RetryAfter(HOUR))
    handle = simple.start()
    testing.run_until_idle()
    result = handle.result()
    assert (result.status, result.output, result.is_success) == ("running", {"only": "done"}, False)


@pytest.mark.parametrize("read", ["refresh", "wait", "cancel", "result"])
def test_run_that_does_not_exist_is_told(db, read):
    with pytest.raises(RunNotFound) as caught:
        getattr(RunHandle(uuid.uuid4()), read)()
    assert isinstance(caught.value.run_id, uuid.UUID)


@pytest.mark.parametrize("given", ["handle", "row", "id", "text"])
def test_verbs_take_a_run_in_any_form(simple, db, given):
    handle = simple.start()
    form = {"handle": handle, "row": handle.run, "id": handle.id, "text": str(handle.id)}[given]
    assert cancel(form).status == "cancelled"
    assert wait(form).status == "cancelled"


def test_wait_returns_the_result_of_a_settled_run_at_once(simple, db):
    handle = simple.start()
    testing.run_until_idle()
    assert handle.wait(0)["only"] == "done"


@pytest.mark.parametrize("timeout", [0.05, timedelta(milliseconds=50)])
def test_wait_past_its_timeout_raises_and_the_run_goes_on(simple, workflow_queues, timeout):
    handle = simple.start()
    with pytest.raises(WaitTimeout, match=r"is running after 0\.05 s; no worker has begun it\.") as caught:
        handle.wait(timeout)
    assert caught.value.run_id == handle.id
    assert handle.status == "running"


def test_wait_past_its_timeout_says_whether_the_run_goes_on(flow, workflow_queues):
    flow.step(name="first")(lambda: "done")
    flow.step(name="later", depends_on=["first"])(lambda: RetryAfter(timedelta(hours=1)))
    handle, due = flow.start(), flow.start(delay=timedelta(hours=1))
    testing.run_until_idle()

    def told(handle):
        with pytest.raises(WaitTimeout) as caught:
            handle.wait(0)
        return str(caught.value).partition("; ")[2]

    assert told(handle) == "it goes on."
    assert told(due) == "it has not started yet."
    handle.pause()
    assert told(handle) == "it goes on once it is resumed."
    handle.resume()
    pause_flow(flow.slug)
    assert told(handle) == "it goes on once its flow is resumed."


def test_notification_wakes_a_waiter(simple, workflow_queues, monkeypatch):
    monkeypatch.setattr("django_workflow.read.run.waiting.POLL", 60.0)
    handle = simple.start()
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(db.on_own_connection(lambda: handle.wait(20))))
    waiter.start()
    wait_for_listeners(1)
    (task,) = claim.claim("default", 1, slots=1, lease=60)
    settled = settle([testing.perform(task)])
    began = time.monotonic()
    db.notify(settled.notifications())
    waiter.join(20)
    assert answers[0]["only"] == "done"
    assert time.monotonic() - began < 5


def wait_for_listeners(count):
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%%'"
    eventually(lambda: db.rows(sql)[0][0] >= count, "a session that listens")


def test_wait_notices_the_end_without_a_notification(simple, workflow_queues, monkeypatch):
    monkeypatch.setattr("django_workflow.read.run.waiting.POLL", 0.02)
    handle = simple.start()
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(db.on_own_connection(lambda: handle.wait(20))))
    waiter.start()
    wait_for_listeners(1)
    (task,) = claim.claim("default", 1, slots=1, lease=60)
    settle([testing.perform(task)])  # whoever settles tells; here nobody does
    waiter.join(20)
    assert answers[0].is_success


def test_cancel_ends_everything_and_says_who_and_why(simple, db):
    simple.step(name="next", depends_on=["only"])(lambda: None)
    handle = simple.start()
    cancelled = handle.cancel("customer gone", by="ann")
    assert cancelled is handle
    run = handle.run
    assert (run.status, run.error) == (
        "cancelled",
        {"step": "", "class": "cancelled", "message": "customer gone", "by": "ann"},
    )
    assert Event.objects.get(run_id=run.pk, type="run.cancelled").data == {"reason": "customer gone", "by": "ann"}
    assert not StepRun.objects.filter(run_id=run.pk).unsettled().exists()
    assert not Task.objects.of_run(run.pk).unsettled().exists()
    assert testing.run_until_idle() == 0


def test_cancel_tells_workers_and_waiters(simple, workflow_queues):
    handle = simple.start()
    claim.claim("default", 1, slots=1, lease=60)
    with db.listen([RUN_CHANNEL, "django_workflow_control"]) as listener:
        handle.cancel()
        told = set(listener.notifications(5.0))
    assert told == {(RUN_CHANNEL, str(handle.id)), ("django_workflow_control", f"run:{handle.id}")}


def test_result_after_a_cancel_is_recorded_and_changes_nothing(simple, db):
    handle = simple.start()
    (task,) = claim.claim("default", 1, slots=1, lease=60)
    handle.cancel()
    outcome = testing.perform(task)
    assert settle([outcome]).superseded == {task.id}
    assert handle.status == "cancelled"
    assert Task.objects.get(pk=task.id).output is None
    attempt = Attempt.objects.get(task_id=task.id)
    assert (attempt.outcome, attempt.late_outcome, attempt.superseded_at is not None) == (
        *("cancelled", "succeeded", True),
    )


def test_cancel_again_changes_nothing(simple, db):
    handle = simple.start()
    first = handle.cancel("first").run
    again = handle.cancel("second").run
    assert (again.error, again.ended_at) == (first.error, first.ended_at)
    assert Event.objects.filter(run_id=handle.id, type="run.cancelled").count() == 1


def test_cancel_of_a_run_that_ended_otherwise_is_refused(simple, db):
    handle = simple.start()
    testing.run_until_idle()
    with pytest.raises(AlreadySettled, match="has already ended succeeded") as caught:
        handle.cancel()
    assert caught.value.status == "succeeded"
    assert handle.status == "succeeded"


def test_scheduled_run_can_be_cancelled(simple, db):
    handle = simple.start(delay=HOUR)
    handle.cancel()
    testing.advance(2 * HOUR)
    testing.run_until_idle()
    assert handle.status == "cancelled"
    assert not Task.objects.exists()


def test_cancel_inside_a_transaction_is_rolled_back_with_it(simple, workflow_queues):
    handle = simple.start()
    with transaction.atomic():
        handle.cancel()
        transaction.set_rollback(True)
    assert handle.status == "running"
    testing.run_until_idle()
    assert handle.status == "succeeded"


def test_twins_do_the_same_asynchronously(simple, db):
    async def story():
        handle = await simple.astart(1, idempotency_key="k")
        many = await simple.astart_many([2, 3])
        await handle.arefresh()
        executed = await simple.aexecute(4)
        await many[0].acancel("why", by="me")
        await django_workflow.acancel(many[1])
        return handle, many, executed, await many[0].await_(1), await django_workflow.await_(many[1], 1)

    handle, many, executed, first, second = async_to_sync(story)()
    assert handle.run.input == 1
    assert [item.run.input for item in many] == [2, 3]
    assert executed["only"] == "done"
    assert (first.status, first.error["message"], second.status) == ("cancelled", "why", "cancelled")


def test_async_flow_executed_from_async_code_works(flow, db):
    @flow.step
    async def only(input):
        return input * 2

    async def story():
        return await flow.aexecute(21)

    assert async_to_sync(story)()["only"] == 42
