"""Attempts that take too long, in real workers: ended at their deadline, whatever still comes is late."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group

from django_workflow import Retry, testing
from django_workflow.models import Attempt
from tests.waiting import eventually

SHORT = timedelta(milliseconds=100)
SOON = timedelta(milliseconds=10)
ONCE = Retry(max_attempts=1)


def spin(ctx):
    """Run Python code until somebody interrupts it."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        pass
    raise AssertionError("nobody stopped this handler")


def declare(flow, kind, **options):
    if kind == "coroutine":

        @flow.step(**options)
        async def slow(ctx):
            if ctx.attempt == 1:
                await asyncio.sleep(20)
            return ctx.attempt
    else:

        @flow.step(atomic=kind == "atomic", **options)
        def slow(ctx):
            Group.objects.create(name=f"attempt {ctx.attempt}")
            if ctx.attempt == 1:
                spin(ctx)
            return ctx.attempt


@pytest.mark.parametrize("kind", ["thread", "coroutine", "atomic"])
def test_attempt_ends_timed_out_at_its_deadline_and_is_tried_again(flow, drain, kind):
    declare(flow, kind, timeout=SHORT, retry=Retry(max_attempts=2, base=SOON))
    handle = flow.start()
    drain()
    assert testing.assert_settled(handle)["slow"] == 2
    attempt = Attempt.objects.get(run_id=handle.id)
    assert (attempt.outcome, attempt.error_class, attempt.is_counted) == ("timed_out", "TimedOut", True)
    assert timedelta(milliseconds=95) < attempt.ended_at - attempt.begun_at < timedelta(milliseconds=600)
    if kind == "atomic":
        assert list(Group.objects.values_list("name", flat=True)) == ["attempt 2"]


def test_last_timeout_fails_the_run(flow, drain):
    declare(flow, "coroutine", timeout=SHORT, retry=ONCE)
    handle = flow.start()
    drain()
    error = testing.assert_settled(handle, "failed").error
    assert error == {
        "step": "slow",
        "class": "TimedOut",
        "message": "step 'slow' ran longer than its timeout of 0.1 s",
    }


def test_timeout_of_the_settings_holds_where_a_step_has_none(flow, drain, settings):
    settings.DJANGO_WORKFLOW = {"TIMEOUT": SHORT}
    declare(flow, "thread", retry=ONCE)
    handle = flow.start()
    drain()
    assert handle.result().error["class"] == "TimedOut"


def test_late_result_is_recorded_as_superseded_and_changes_nothing(flow, work):
    may_end = threading.Event()

    @flow.step(timeout=SHORT, retry=Retry(max_attempts=2, base=SOON))
    def slow(ctx):
        if ctx.attempt == 1:
            try:
                may_end.wait(20)
            except BaseException:  # whoever swallows even this is stubborn
                may_end.wait(20)
            return "late"
        return "in time"

    handle = flow.start()
    worker = work(concurrency=2)
    assert handle.wait(20)["slow"] == "in time"
    may_end.set()
    attempt = eventually(lambda: Attempt.objects.filter(run_id=handle.id, superseded_at__isnull=False).first())
    assert (attempt.outcome, attempt.number) == ("timed_out", 1)
    assert attempt.late_outcome in ("succeeded", "failed")
    worker.stop()
    assert handle.result()["slow"] == "in time"


def test_handler_that_cannot_be_stopped_keeps_its_slot(flow, make_flow, work):
    may_end = threading.Event()

    @flow.step(timeout=SHORT, retry=ONCE)
    def blocked():
        may_end.wait(20)

    other = make_flow()
    other.step(name="next")(lambda: "done")
    handle = flow.start()
    busy = work(concurrency=1, prefetch=0)
    assert handle.wait(20).status == "failed"
    waiting = other.start()
    assert busy.dispatcher.tally.claimed == 1
    free = work(concurrency=1, prefetch=0)
    assert waiting.wait(20)["next"] == "done"
    assert waiting.run.tasks.get().worker_id == free.process.dispatcher.worker_id
    assert not Attempt.objects.filter(outcome="released").exists()
    may_end.set()


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_deadline_wakes_a_worker_that_sleeps(flow, work, settings, kind):
    settings.DJANGO_WORKFLOW = {"POLL_INTERVAL": timedelta(minutes=5)}
    declare(flow, kind, timeout=SHORT, retry=ONCE)
    handle = flow.start()
    work()
    assert handle.wait(20).error["class"] == "TimedOut"
    attempt = Attempt.objects.get(run_id=handle.id)
    assert attempt.ended_at - attempt.begun_at < timedelta(milliseconds=800)


def test_context_and_heartbeat_tell_a_handler_to_stop(flow, drain):
    seen = []

    @flow.step(timeout=SHORT, retry=ONCE)
    async def slow(ctx):
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            seen.append(ctx.cancelled)
            try:
                ctx.heartbeat()
            except BaseException as error:
                seen.append(type(error).__name__)
                raise

    flow.start()
    drain()
    eventually(lambda: len(seen) == 2, "the end of the handler")
    assert seen == [True, "Cancelled"]


def test_handler_within_its_timeout_is_left_alone(flow, drain):
    @flow.step(timeout=timedelta(seconds=10), retry=ONCE)
    async def quick():
        await asyncio.sleep(0.01)
        return "done"

    handle = flow.start()
    drain()
    assert handle.result()["quick"] == "done"
    assert not Attempt.objects.exists()
