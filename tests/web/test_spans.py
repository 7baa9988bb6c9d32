"""Pages tell how long something ran apart from how long it waited, and whose clock stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from django_workflow import Retry, testing
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.models import Worker
from django_workflow.read.run.tasks import TaskFacts, Try
from django_workflow.web.run import spans
from tests.web.pages import fragment, text_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def facts(now=100, clock=None):
    run = SimpleNamespace(ended_at=None)
    return SimpleNamespace(run=run, now=at(now), clock=at(now if clock is None else clock))


def task(status, begun=None, ended=None, tries=()):
    return TaskFacts(
        id=1, step_run_id=1, index=0, status=status, hold_reason="", origin="", queue="default",
        attempt=len(tries) + (begun is not None), failure_count=0, progress=None, created_at=at(0), due_at=None,
        begun_at=None if begun is None else at(begun), ended_at=None if ended is None else at(ended),
        message_id=None, item=None, worker=None, heartbeat_age=None,
        tries=[Try(number, "failed", at(b), at(e)) for number, (b, e) in enumerate(tries, start=1)],
    )  # fmt: skip


def seconds(span):
    return [None if time is None else time.total_seconds() for time in (span.ran, span.waited)]


def test_a_task_waits_before_its_first_attempt_and_between_attempts():
    span = spans.of_task(facts(), task("succeeded", 60, 70, tries=[(20, 25)]))
    assert seconds(span) == [15, 55]
    assert (span.runs_since, span.waits_since) == (None, None)


def test_what_runs_grows_from_the_attempts_before():
    span = spans.of_task(facts(), task("running", 60, tries=[(20, 25)]))
    assert seconds(span) == [45, 55]
    assert (span.runs_since, span.waits_since) == (at(55), None)


def test_what_is_queued_has_not_run_and_its_waiting_grows():
    span = spans.of_task(facts(), task("queued"))
    assert seconds(span) == [None, 100]
    assert (span.runs_since, span.waits_since) == (None, at(0))


def test_the_waiting_of_a_paused_run_stands_still():
    span = spans.of_task(facts(clock=40), task("held"))
    assert seconds(span) == [None, 40]
    assert span.waits_since is None


@pytest.fixture
def look(client_of, viewer):
    client = client_of(viewer)
    return lambda handle, query="": client.get(f"/workflow/runs/{handle.id}/{query}")


def test_a_step_that_was_only_reached_has_not_started(flow, look, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    page = look(handle)
    assert "Started not yet" in text_of(page)
    assert "<time" not in fragment(page, "steps")
    claim.claim("default", 1, slots=1, lease=60.0)
    page = look(handle)
    assert "Started not yet" not in text_of(page)
    assert "<time" in fragment(page, "steps")


def test_no_clock_of_a_paused_run_ticks(flow, look, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    assert "data-since" in look(handle).text
    handle.pause()
    assert "data-since" not in look(handle).text


def test_progress_of_a_failed_run_is_what_was_done(flow, look, db):
    flow.step(name="first")(lambda: [1, 2, 0])
    flow.map(name="each", over="first", retry=Retry(max_attempts=1))(lambda item: 1 // item)
    flow.step(name="last", depends_on=["each"])(lambda: 1)
    handle = flow.start()
    testing.run_until_idle()
    words = text_of(look(handle))
    assert "3 of 5 tasks done, 1 failed 60 %" in words


def test_attempts_stand_in_order_as_they_count(flow, look, db):
    @flow.step(retry=Retry(max_attempts=2, base=timedelta(seconds=1), jitter=False))
    def fails():
        raise ValueError

    handle = flow.start()
    Worker.objects.create(hostname="here", pid=1, concurrency=1, lease_seconds=30, queues=["default"])
    (released,) = claim.claim("default", 1, slots=1, lease=60.0)
    settle([outcome.released(released, "the worker is stopping")])
    testing.run_until_idle()
    testing.advance(timedelta(seconds=1))
    testing.run_until_idle()
    words = text_of(look(handle, "?step=fails"))
    places = [words.index(told) for told in ("#1 released", "#2 failed", "#3 failed")]
    assert places == sorted(places)
    for told in ("not counted", "counts as 1", "counts as 2"):
        assert told in words
