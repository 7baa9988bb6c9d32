"""The helpers for users' own tests."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import TestCase

from django_workflow import (
    Flow,
    NotSupported,
    Retry,
    RetryAfter,
    To,
    follow,
    listen,
    pause_flow,
    queue,
    resume_flow,
    testing,
)
from django_workflow.engine.tasks import claim

HOUR = timedelta(hours=1)


def test_run_until_idle_executes_all_that_is_due_and_counts_attempts(flow, db):
    flow.step(name="first")(lambda: None)
    flow.map(name="second", count=3, depends_on=["first"])(lambda: None)
    flow.step(name="later", depends_on=["second"])(lambda: RetryAfter(HOUR))
    handle = flow.start()
    assert testing.run_until_idle() == 5
    assert testing.run_until_idle() == 0
    assert testing.statuses_of(handle) == {"first": "succeeded", "second": "succeeded", "later": "running"}


def test_run_until_idle_serves_all_queues(make_flow, unique, db):
    flow = make_flow(queue=unique("queue"))
    flow.step(name="only")(lambda: None)
    handle = flow.start()
    testing.run_until_idle()
    assert handle.status == "succeeded"


def test_run_until_idle_stops_a_test_that_runs_in_circles(flow, db):
    flow.step(name="again")(lambda: flow.start() and None)
    flow.start()
    with pytest.raises(AssertionError, match="more than 20 attempts"):
        testing.run_until_idle(limit=20)


def test_run_until_idle_takes_over_what_a_lost_worker_held(flow, db):
    flow.step(name="only", retry=Retry(max_attempts=2))(lambda ctx: ctx.attempt)
    handle = flow.start()
    claim.claim("default", 1, slots=1, lease=1)
    assert testing.run_until_idle() == 0
    testing.advance(HOUR)
    testing.run_until_idle()
    assert handle.result()["only"] == 2
    assert handle.run.attempts.get().outcome == "lost"


def test_advance_makes_retries_delayed_runs_and_deadlines_due(make_flow, db):
    flow = make_flow(max_duration=3 * HOUR)
    flow.step(name="only")(lambda ctx: RetryAfter(HOUR) if ctx.attempt == 1 else None)
    now, later = flow.start(), flow.start(delay=2 * HOUR)
    testing.run_until_idle()
    testing.advance(HOUR)
    testing.run_until_idle()
    assert (now.status, later.status) == ("succeeded", "scheduled")
    testing.advance(HOUR)
    testing.run_until_idle()
    assert later.status == "running"
    testing.advance(3 * HOUR)
    assert later.status == "timed_out"


@pytest.fixture
def slow(make_flow):
    """A run of three hours at most: a retry after two, and an arrival on its way for as long."""
    flow = make_flow(max_duration=3 * HOUR)
    flow.step(name="retries")(lambda ctx: RetryAfter(2 * HOUR) if ctx.attempt == 1 else None)
    flow.step(name="leads", next=To("joins", delay=2 * HOUR))(lambda: None)
    flow.step(name="joins", depends_on=["retries"], join=2)(lambda: None)
    return flow


@pytest.mark.parametrize("pauses", [lambda handle: handle.pause(), lambda handle: pause_flow(handle.run.flow.slug)])
@pytest.mark.parametrize("passes", [timedelta(0), 24 * HOUR])
def test_advance_lets_no_time_pass_for_a_paused_run(slow, pauses, passes, db):
    handle = slow.start()
    testing.run_until_idle()
    testing.advance(HOUR)
    pauses(handle)
    testing.advance(passes)
    testing.run_until_idle()
    assert handle.status == "paused"
    resume_flow(slow.slug)
    handle.resume()
    testing.run_until_idle()
    assert testing.statuses_of(handle) == {"retries": "running", "leads": "succeeded"}
    testing.advance(HOUR * 0.9)
    testing.run_until_idle()
    assert testing.statuses_of(handle)["retries"] == "running"
    testing.advance(HOUR * 0.2)
    testing.run_until_idle()
    assert testing.statuses_of(handle) == dict.fromkeys(("retries", "leads", "joins"), "succeeded")


def test_advance_keeps_what_remains_until_the_deadline_of_a_paused_run(slow, db):
    handle = slow.start()
    handle.pause()
    testing.advance(24 * HOUR)
    handle.resume()
    testing.advance(HOUR * 2.9)
    assert handle.status == "running"
    testing.advance(HOUR * 0.2)
    assert handle.status == "timed_out"


def test_time_of_a_scheduled_run_comes_while_it_is_paused(slow, db):
    handle = slow.start(delay=2 * HOUR)
    handle.pause()
    testing.advance(3 * HOUR)
    assert handle.status == "paused"
    handle.resume()
    testing.run_until_idle()
    assert handle.status == "running"
    testing.advance(HOUR * 2.9)
    assert handle.status == "running"


def test_clean_queues_deletes_all_messages(flow, db):
    flow.step(name="only")(lambda: None)
    flow.start_many(range(5))
    testing.clean_queues()
    assert queue.depth("default") == (0, 0, 0.0)
    assert testing.run_until_idle() == 0


def test_assert_settled_returns_the_result(flow, db):
    flow.step(name="only")(lambda: 7)
    result = testing.assert_settled(flow.execute().run_id, "succeeded", steps={"only": "succeeded"})
    assert result["only"] == 7


def test_assert_settled_tells_what_every_step_came_to(flow, db):
    flow.step(name="first")(lambda: None)
    flow.step(name="second", depends_on=["first"], retry=Retry(max_attempts=1))(lambda: 1 / 0)
    run_id = flow.execute().run_id
    with pytest.raises(AssertionError) as caught:
        testing.assert_settled(run_id, steps={"second": "succeeded", "third": "skipped"})
    text = str(caught.value)
    assert "is failed, expected succeeded" in text
    assert "step 'second' is failed, expected succeeded" in text
    assert "step 'third' is None, expected skipped" in text
    assert "ZeroDivisionError" in text
    assert "'first': 'succeeded'" in text


def test_fixture_gives_committed_data_and_empty_queues(workflow_queues, flow):
    flow.step(name="only")(lambda: None)
    flow.start()
    assert not connection.in_atomic_block
    assert queue.depth("default")[1] == 1


def test_fixture_left_nothing_behind(workflow_queues):
    assert sum(queue.depth(name)[1] for name in queue.existing()) == 0


class TestInDjangosTestCase(TestCase):
    """The helpers work inside `django.test.TestCase`."""

    def test_runs_and_advances(self):
        flow = Flow("flow_of_a_test_case")
        flow.step(name="only")(lambda ctx: RetryAfter(HOUR) if ctx.attempt == 1 else "done")
        handle = flow.start()
        testing.run_until_idle()
        testing.advance(HOUR)
        testing.run_until_idle()
        assert testing.assert_settled(handle)["only"] == "done"

    def test_nothing_is_left_by_the_other_test(self):
        assert queue.depth("default")[1] == 0


def test_waiting_in_a_tests_transaction_says_what_a_test_does_instead(flow, db):
    flow.step(name="only")(lambda: 1)
    run = flow.start()
    with pytest.raises(NotSupported, match="run_until_idle"):
        run.wait(10)
    for following in (follow(run), follow(), listen("news")):
        with following, pytest.raises(NotSupported, match="test's transaction"):
            next(following)
    testing.run_until_idle()
    assert run.wait().is_success
