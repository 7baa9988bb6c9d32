"""When a worker began a run, how long it waited and ran, and whether it waits for a worker that nobody started."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import Retry, testing
from django_workflow.engine.tasks import claim
from django_workflow.models import Run, Task, Worker
from django_workflow.read.run import durations

HOUR = timedelta(hours=1)


@pytest.fixture
def serve(db):
    """Let a worker report that it serves some queues."""

    def make(*queues):
        return Worker.objects.create(hostname="here", pid=1, concurrency=1, lease_seconds=30, queues=list(queues))

    return make


def standing_of(handle):
    run = Run.objects.get(pk=handle.id)
    return run, durations.read([run])[run.pk]


def begin():
    """Let a worker begin the next task."""
    (task,) = claim.claim("default", 1, slots=1, lease=60.0)
    return Task.objects.get(pk=task.id)


def test_a_run_that_no_worker_began_waits_since_it_started(flow, db):
    flow.step(name="only")(lambda: 1)
    run, told = standing_of(flow.start())
    assert told.spans == durations.Spans(None, run.started_at, None)


def test_a_run_began_with_its_first_task_and_not_when_it_started(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    task = begin()
    run, told = standing_of(handle)
    assert run.started_at < task.begun_at
    assert told.spans == durations.Spans(task.begun_at, run.started_at, task.begun_at, task.begun_at, None)


def test_it_began_with_the_first_attempt_also_where_that_failed(flow, db):
    @flow.step(retry=Retry(base=HOUR, jitter=False))
    def fails():
        raise ValueError

    handle = flow.start()
    testing.run_until_idle()
    _, told = standing_of(handle)
    assert Task.objects.get(run_id=handle.id).begun_at is None
    assert told.spans.begun_at is not None


def test_what_a_retry_carries_over_did_not_begin_in_it(flow, db):
    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"], retry=Retry(max_attempts=1))(lambda: 1 / 0)
    handle = flow.start()
    testing.run_until_idle()
    run, told = standing_of(handle.retry())
    assert told.spans == durations.Spans(None, run.started_at, None)


def test_the_clock_of_a_paused_run_stands_still_and_leaves_the_pause_out_afterwards(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    begun_at = begin().begun_at
    handle.pause()
    run, told = standing_of(handle)
    assert told.spans.runs_to == run.paused_at
    Run.objects.filter(pk=run.pk).update(paused_at=run.paused_at - HOUR)
    handle.resume()
    run, told = standing_of(handle)
    assert told.spans.runs_to is None
    assert HOUR <= told.spans.runs_from - begun_at < 2 * HOUR


def test_a_pause_before_the_start_is_no_part_of_the_run(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start(delay=HOUR)
    handle.pause()
    Run.objects.filter(pk=handle.id).update(paused_at=handle.run.paused_at - HOUR)
    handle.resume()
    assert handle.run.paused_seconds == 0


def test_a_run_that_was_cancelled_while_it_was_paused_ran_until_the_pause(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    begin()
    handle.pause()
    handle.cancel()
    run, told = standing_of(handle)
    assert told.spans.runs_to == run.paused_at < run.ended_at


def test_a_run_that_waits_in_a_queue_that_no_live_worker_serves_names_the_queue(flow, serve):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    assert standing_of(handle)[1].unserved == "default"
    worker = serve("other")
    assert standing_of(handle)[1].unserved == "default"
    Worker.objects.filter(pk=worker.pk).update(queues=["other", "default"])
    assert standing_of(handle)[1].unserved == ""
    Worker.objects.filter(pk=worker.pk).update(heartbeat_at=worker.heartbeat_at - HOUR)
    assert standing_of(handle)[1].unserved == "default"


def test_a_run_of_which_nothing_is_queued_waits_for_no_worker(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    begin()
    assert standing_of(handle)[1].unserved == ""
