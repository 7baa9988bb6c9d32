"""A worker's life: waking, draining, stopping, heartbeats, and what it does not know."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import timedelta

import pytest
from django.db import transaction

from django_workflow import Retry, To, db, testing
from django_workflow.definition.registry import registry
from django_workflow.models import Attempt, Task, Worker
from tests.waiting import eventually
from tests.workers import listeners

pytestmark = pytest.mark.slow

SECOND = timedelta(seconds=1)
SOON = timedelta(milliseconds=10)
ONCE = Retry(max_attempts=1)


@pytest.fixture
def gate():
    """Two events: a handler tells that it began and waits until it may go on."""
    return Gate()


class Gate:
    """Where handlers wait for the test."""

    def __init__(self):
        self.began = []
        self.open = threading.Event()

    def enter(self, what=None):
        self.began.append(what)
        assert self.open.wait(20)

    def wait_until_begun(self, count=1):
        eventually(lambda: len(self.began) >= count, f"{count} handlers that begin")


def test_drain_ends_when_all_queues_are_empty(flow, drain):
    flow.map(name="each", count=50)(lambda index: index)
    flow.step(name="after")(lambda each: len(each) + sum(each))
    handles = flow.start_many([None] * 3)
    worker = drain()
    assert [testing.assert_settled(handle)["after"] for handle in handles] == [50 + 1225] * 3
    assert worker.dispatcher.tally.succeeded == 153


def test_a_claim_is_flushed_while_its_handler_runs(flow, work, monkeypatch):
    flush, flushed = db.flush, threading.Event()
    monkeypatch.setattr(db, "flush", lambda: flush() or flushed.set())
    flow.step(name="only")(lambda: flushed.wait(10))
    handle = flow.start()
    work(drain=True).join()
    assert testing.assert_settled(handle)["only"] is True


def test_drain_of_nothing_ends_at_once(drain):
    began = time.monotonic()
    drain()
    assert time.monotonic() - began < 5


def test_drain_waits_for_retries(flow, drain):
    @flow.step(retry=Retry(max_attempts=3, base=timedelta(milliseconds=150), jitter=False))
    def flaky(ctx):
        if ctx.attempt < 3:
            raise ValueError
        return ctx.attempt

    handle = flow.start()
    worker = drain()
    assert testing.assert_settled(handle)["flaky"] == 3
    assert (worker.dispatcher.tally.succeeded, worker.dispatcher.tally.failed) == (1, 2)


def test_drain_waits_for_delayed_arrivals_at_joins_of_its_queues(make_flow, unique, drain):
    flow = make_flow(entry=["late", "other", "elsewhere"])
    flow.step(name="late", next=[To("join", delay=SECOND)])(lambda: None)
    flow.step(name="elsewhere", next=[To("apart", delay=timedelta(hours=1))])(lambda: None)
    flow.step(name="other", next=["join", "apart"])(lambda: None)
    flow.step(name="join", join="all")(lambda: None)
    flow.step(name="apart", join="all", queue=unique("queue"))(lambda: None)
    handle = flow.start()
    drain()
    assert testing.statuses_of(handle) == {
        "late": "succeeded", "elsewhere": "succeeded", "other": "succeeded", "join": "succeeded", "apart": "waiting",
    }  # fmt: skip


def test_worker_serves_only_its_queues(make_flow, unique, drain):
    mine, other = unique("queue"), unique("queue")
    flows = [make_flow(queue=mine), make_flow(queue=other)]
    for flow in flows:
        flow.step(name="only")(lambda: None)
    handles = [flow.start() for flow in flows]
    drain(queues=[mine])
    assert [handle.status for handle in handles] == ["succeeded", "running"]


def test_first_queue_is_served_first(make_flow, unique, drain):
    first, second = unique("queue"), unique("queue")
    order = []
    flow_second, flow_first = (make_flow(queue=name) for name in (second, first))
    flow_second.map(name="each", count=3)(lambda: order.append("second"))
    flow_first.map(name="each", count=3)(lambda: order.append("first"))
    flow_second.start()
    flow_first.start()
    drain(queues=[first, second], concurrency=1, prefetch=0)
    assert order == ["first"] * 3 + ["second"] * 3


def test_notification_wakes_an_idle_worker(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": timedelta(minutes=5)}
    flow.step(name="only")(lambda: None)
    flow.execute()
    work()
    eventually(lambda: listeners() == 1, "a worker that listens")
    eventually(is_idle, "an idle worker")
    began = time.monotonic()
    assert flow.start().wait(20).is_success
    assert time.monotonic() - began < 5


def is_idle():
    return Worker.objects.filter(stopped_at=None).exists()


def test_poll_finds_what_no_notification_told(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": 5 * SOON}
    flow.step(name="only")(lambda: None)
    work()
    handle = flow.start()
    # without the message's notification: as if it was lost
    assert handle.wait(20).is_success


def test_keeper_begins_delayed_runs_and_long_backoffs(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": 5 * SOON, "LEASE": timedelta(milliseconds=10)}

    @flow.step(retry=Retry(base=timedelta(milliseconds=200), jitter=False))
    def flaky(ctx):
        if ctx.attempt == 1:
            raise ValueError

    handle = flow.start(delay=timedelta(milliseconds=100))
    work()
    assert handle.wait(20).is_success
    assert Attempt.objects.get().outcome == "failed"


def test_keeper_ends_overdue_runs_and_their_handlers_are_told(make_flow, work, settings, gate):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": 5 * SOON}
    flow = make_flow(max_duration=timedelta(milliseconds=300))
    stopped = []

    @flow.step
    async def waits(ctx):
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            stopped.append(ctx.cancelled)
            raise

    handle = flow.start()
    work()
    assert handle.wait(20).status == "timed_out"
    eventually(lambda: stopped == [True], "the handler's end")


def test_heartbeat_keeps_the_lease_of_a_long_task(flow, work):
    ran = []

    @flow.step
    async def long():
        ran.append(1)
        await asyncio.sleep(2.2)

    handle = flow.start()
    work(lease=SECOND)
    work(lease=SECOND)
    assert handle.wait(20).is_success
    assert ran == [1]
    assert Task.objects.get(run_id=handle.id).attempt == 1


def test_progress_is_stored_with_a_heartbeat(flow, work, gate):
    @flow.step
    def tells(ctx):
        ctx.heartbeat(0.25)
        gate.enter()

    handle = flow.start()
    work(lease=SECOND)
    eventually(lambda: Task.objects.get(run_id=handle.id).progress == 0.25, "progress in the row")
    gate.open.set()
    assert handle.wait(20).is_success


def test_stop_lets_running_handlers_finish_and_hands_the_rest_back_uncounted(flow, work, gate):
    @flow.map(count=8)
    def each(index):
        if index:  # the first tells that handlers are quick
            gate.enter(index)
        return index

    handle = flow.start()
    worker = work(concurrency=2, prefetch=10)
    tasks = Task.objects.of_run(handle.id)
    eventually(lambda: tasks.filter(status="running").count() == 7, "two run, five wait for a slot")
    gate.wait_until_begun(2)
    worker.process.stop()
    eventually(lambda: tasks.filter(status="queued").count() == 5, "tasks handed back")
    gate.open.set()
    worker.join()
    assert sorted(tasks.values_list("status", flat=True)) == ["queued"] * 5 + ["succeeded"] * 3
    assert set(tasks.values_list("failure_count", flat=True)) == {0}
    assert not Attempt.objects.filter(is_counted=True).exists()
    testing.run_until_idle()
    assert handle.result()["each"] == list(range(8))


def test_handler_that_outlives_the_grace_time_is_handed_back_uncounted(flow, work):
    may_end, began = threading.Event(), threading.Event()

    @flow.step(retry=ONCE)
    def stubborn(ctx):
        if ctx.attempt > 1:
            return "second"
        began.set()
        may_end.wait(20)
        return "first"

    handle = flow.start()
    worker = work(grace=timedelta(milliseconds=100))
    assert began.wait(20)
    worker.process.stop()
    eventually(Attempt.objects.exists, "an attempt handed back")
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.is_counted, attempt.message) == (
        "released",
        False,
        "the worker stopped while it ran",
    )
    may_end.set()
    worker.join()
    testing.run_until_idle()
    assert testing.assert_settled(handle)["stubborn"] == "second"


def test_stopped_worker_ends_as_soon_as_its_handlers_have(flow, work, gate, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": timedelta(minutes=5)}

    @flow.step
    def only():
        gate.enter()

    flow.start()
    worker = work()
    gate.wait_until_begun()
    worker.process.stop()
    gate.open.set()
    worker.join(10)


def test_second_stop_ends_the_grace_time(flow, work):
    may_end, began = threading.Event(), threading.Event()

    @flow.step
    def stubborn():
        began.set()
        may_end.wait(20)

    handle = flow.start()
    worker = work(grace=timedelta(minutes=5))
    assert began.wait(20)
    worker.process.stop()
    worker.process.stop()
    eventually(lambda: Task.objects.get(run_id=handle.id).status == "queued", "the task handed back")
    may_end.set()
    worker.join()


def test_prefetched_task_that_cannot_begin_is_left_to_others(flow, make_flow, work, gate):
    @flow.step
    def blocks():
        gate.enter()

    quick = make_flow()
    quick.step(name="only")(lambda: None)
    first = quick.start()
    work(concurrency=1, prefetch=20)
    assert first.wait(20).is_success
    with transaction.atomic():
        slow = flow.start()
        handles = quick.start_many(range(5))
    gate.wait_until_begun()
    assert set(Task.objects.exclude(status="succeeded").values_list("status", flat=True)) == {"running"}
    work(concurrency=1)
    for handle in handles:
        assert handle.wait(20).is_success
    gate.open.set()
    assert slow.wait(20).is_success
    assert not Attempt.objects.filter(is_counted=True).exists()


def test_no_more_is_claimed_ahead_than_begins_in_time(flow, drain):
    flow.step(name="only")(lambda: time.sleep(0.2))
    flow.start_many([None] * 60)
    drain(concurrency=8)
    assert not Attempt.objects.exists(), "none was handed back because it did not begin"


def test_worker_row_tells_who_it_is_and_how_it_ended(flow, drain):
    flow.step(name="only")(lambda: None)
    handle = flow.start()
    worker = drain(concurrency=7, lease=timedelta(seconds=12))
    row = Worker.objects.get(pk=worker.process.dispatcher.worker_id)
    assert (row.pid, row.concurrency, row.lease_seconds, row.queues) == (os.getpid(), 7, 12.0, ["default"])
    assert row.stopped_at >= row.started_at
    assert Task.objects.get(run_id=handle.id).worker_id == row.pk


def test_worker_whose_connections_are_cut_goes_on(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": 5 * SOON}
    flow.step(name="only")(lambda: None)
    work(lease=SECOND)
    assert flow.start().wait(20).is_success
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    assert db.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    assert flow.start().wait(20).is_success


def test_step_unknown_here_is_put_back_uncounted_for_others(flow, drain, work, settings):
    settings.DJANGO_WORKFLOW = {"UNKNOWN_HANDLER_DELAY": 10 * SOON, "POLL_INTERVAL": 5 * SOON}
    flow.step(name="only", retry=ONCE)(lambda: "known")
    handle = flow.start()
    known = registry._handlers.pop(f"{flow.slug}.only")
    worker = work()
    eventually(lambda: Attempt.objects.filter(run_id=handle.id).exists(), "an attempt put back")
    attempt = Attempt.objects.filter(run_id=handle.id).first()
    assert (attempt.outcome, attempt.is_counted) == ("released", False)
    assert f"no handler '{flow.slug}.only' in this process" in attempt.message
    registry._handlers[known.name] = known  # as a worker of the new release would know it
    assert handle.wait(20)["only"] == "known"
    worker.stop()


def test_step_whose_condition_is_unknown_here_is_put_back_too(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"UNKNOWN_HANDLER_DELAY": 10 * SOON, "POLL_INTERVAL": 5 * SOON}
    flow.step(name="first", retry=ONCE)(lambda: None)

    @flow.step(depends_on=["first"], when=lambda input: True)
    def second():
        return "ran"

    handle = flow.start()
    name = f"{flow.slug}.second.when"
    known = registry._callables.pop(name)
    work()
    eventually(lambda: Attempt.objects.filter(run_id=handle.id, outcome="released").exists(), "an attempt put back")
    registry.add_callable(name, known)
    assert handle.wait(20)["second"] == "ran"


def test_step_that_no_worker_knows_fails_clearly_after_the_limit(flow, drain, settings):
    settings.DJANGO_WORKFLOW = {"UNKNOWN_HANDLER_DELAY": SOON, "UNKNOWN_HANDLER_LIMIT": timedelta(milliseconds=200)}
    flow.step(name="only")(lambda: None)
    handle = flow.start()
    registry._handlers.pop(f"{flow.slug}.only")
    drain()
    error = testing.assert_settled(handle, "failed").error
    assert "UnregisteredHandler" in error["class"]
    assert f"no worker knows handler '{flow.slug}.only'" in error["message"]


def test_old_task_is_not_failed_by_the_first_worker_that_does_not_know_it(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"UNKNOWN_HANDLER_DELAY": 10 * SOON, "POLL_INTERVAL": 5 * SOON}
    flow.step(name="only")(lambda: "known")
    handle = flow.start()
    # it waited in a long queue
    Task.objects.of_run(handle.id).update(created_at="2020-01-01T00:00Z")
    known = registry._handlers.pop(f"{flow.slug}.only")
    work()
    eventually(lambda: Attempt.objects.filter(run_id=handle.id).exists(), "an attempt put back")
    registry._handlers[known.name] = known
    assert handle.wait(20)["only"] == "known"


def test_deploy_that_adds_a_step_does_not_disturb_runs_in_flight(flow, unique, work, gate):
    @flow.step
    def first():
        gate.enter()
        return 1

    @flow.step
    def last(first):
        return first + 1

    old = flow.start()
    work()
    gate.wait_until_begun()
    flow.step(name="added", depends_on=["last"])(lambda: "new")
    new = flow.start()
    gate.open.set()
    assert old.wait(20).output == {"last": 2}
    assert new.wait(20).output == {"added": "new"}
