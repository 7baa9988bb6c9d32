"""A cancel reaches what runs within a second, wherever it runs; what still comes of it is late, and visibly so."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from datetime import timedelta

import psutil
import pytest
from django.contrib.auth.models import Group

from django_workflow.models import Attempt, Task
from tests.waiting import eventually
from tests.worker.site import workflows
from tests.workers import listeners

#: A heartbeat would tell, too, but not before a third of it: what ends a handler here is the cancel alone.
LONG = timedelta(minutes=5)
WITHIN = 1.0


@pytest.fixture
def worker(work, settings):
    """A real worker that neither beats nor polls during the test."""
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": LONG}

    def start(**options):
        started = work(lease=LONG, **options)
        eventually(listeners, "a worker that listens")
        return started

    return start


class Spy:
    """When handlers began and ended, in monotonic seconds, and what their context said at the end."""

    def __init__(self):
        self.began = []
        self.ended = []
        self.told = []

    def begin(self):
        self.began.append(time.monotonic())

    def end(self, ctx):
        self.ended.append(time.monotonic())
        self.told.append(ctx.cancelled)

    def wait_until_begun(self, count=1):
        eventually(lambda: len(self.began) == count, f"{count} handlers that begin")

    def wait_until_ended(self, count=1):
        eventually(lambda: len(self.ended) == count, f"{count} handlers that end")


@pytest.fixture
def spy():
    return Spy()


def cancel(handle):
    """Cancel a run; return a moment just before that committed, so that what is measured is no less than true."""
    before = time.monotonic()
    handle.cancel("enough", by="ann")
    return before


def assert_superseded(handle, late_outcome, count=1):
    """What the handlers still gave is recorded with their attempts, and changed nothing."""
    attempts = Attempt.objects.filter(run_id=handle.id)
    eventually(lambda: attempts.filter(superseded_at__isnull=False).count() == count, "late results that are recorded")
    for attempt in attempts:
        assert (attempt.outcome, attempt.late_outcome) == ("cancelled", late_outcome)
        assert attempt.ended_at <= attempt.superseded_at
    assert handle.status == "cancelled"
    for task in Task.objects.of_run(handle.id):
        assert (task.status, task.output) == ("cancelled", None)


@pytest.mark.parametrize("kind", ["coroutine", "thread", "atomic"])
def test_cancel_ends_a_running_handler_within_a_second(flow, worker, spy, kind):
    if kind == "coroutine":

        @flow.map(count=3)
        async def runs(ctx):
            spy.begin()
            try:
                await asyncio.sleep(60)
            finally:
                spy.end(ctx)
    else:

        @flow.map(count=3, atomic=kind == "atomic")
        def runs(ctx):
            spy.begin()
            try:
                while True:
                    time.sleep(0.001)
            finally:
                spy.end(ctx)

    handle = flow.start()
    worker()
    spy.wait_until_begun(3)
    cancelled_at = cancel(handle)
    spy.wait_until_ended(3)
    assert max(spy.ended) - cancelled_at < WITHIN
    assert spy.told == [True] * 3
    assert_superseded(handle, "failed", 3)


@pytest.mark.slow
def test_cancel_kills_the_process_of_a_running_handler_within_a_second(site, worker):
    handle = workflows.spinning.start()
    worker(concurrency=1)
    eventually(lambda: Group.objects.filter(name__startswith="spins "), "a handler that begins")
    child = psutil.Process(int(re.match(r"spins (\d+)", Group.objects.get().name)[1]))
    cancelled_at = cancel(handle)
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the end of its process")
    assert time.monotonic() - cancelled_at < WITHIN
    assert_superseded(handle, "failed")


def test_thread_inside_a_long_call_ends_at_its_next_bytecode(flow, worker, spy):
    call_ends = threading.Event()
    reached = []

    @flow.step
    def waits(ctx):
        spy.begin()
        try:
            call_ends.wait(60)
            reached.append("the line after it")
        finally:
            spy.end(ctx)

    handle = flow.start()
    started = worker()
    spy.wait_until_begun()
    cancel(handle)
    (job,) = started.dispatcher.in_flight.jobs.values()
    eventually(lambda: job.context.cancelled, "a context that says so")
    assert spy.ended == []
    call_ended_at = time.monotonic()
    call_ends.set()
    spy.wait_until_ended()
    assert spy.ended[0] - call_ended_at < WITHIN
    assert reached == []
    assert_superseded(handle, "failed")


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
def test_result_of_a_handler_that_finishes_all_the_same_is_late(flow, worker, spy, kind):
    if kind == "coroutine":

        @flow.step
        async def finishes(ctx):
            spy.begin()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                spy.end(ctx)
            return "too late"
    else:

        @flow.step
        def finishes(ctx):
            spy.begin()
            try:
                while True:
                    time.sleep(0.001)
            except BaseException:
                spy.end(ctx)
            return "too late"

    handle = flow.start()
    worker()
    spy.wait_until_begun()
    cancelled_at = cancel(handle)
    spy.wait_until_ended()
    assert spy.ended[0] - cancelled_at < WITHIN
    assert_superseded(handle, "succeeded")


def test_cancel_frees_the_slots_of_what_it_ended(flow, make_flow, worker, spy):
    @flow.map(count=20)
    def runs(ctx):
        spy.begin()
        while True:
            time.sleep(0.001)

    other = make_flow()
    other.step(name="only")(lambda: "done")
    handle = flow.start()
    worker(concurrency=2, prefetch=0)
    spy.wait_until_begun(2)
    waiting = other.start()
    cancel(handle)
    assert waiting.wait(5)["only"] == "done"
    assert len(spy.began) == 2
    assert_superseded_only_what_ran(handle)


def assert_superseded_only_what_ran(handle):
    eventually(lambda: Attempt.objects.filter(run_id=handle.id, superseded_at__isnull=False).count() == 2)
    assert Attempt.objects.filter(run_id=handle.id).count() == 2
    assert set(Task.objects.of_run(handle.id).values_list("status", flat=True)) == {"cancelled"}
