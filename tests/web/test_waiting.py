"""Why something waits, in one sentence."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import RetryAfter, pause, pause_flow, pause_queue, testing
from django_workflow.conf import conf
from django_workflow.engine.tasks import claim
from django_workflow.models import Run, Worker
from django_workflow.read.run import facts, wait_reasons
from django_workflow.read.run.facts import read_facts
from django_workflow.read.run.steps import read_steps
from django_workflow.web.address import Address
from django_workflow.web.run import run_page, task_panel


@pytest.fixture
def worker(db):
    """A live worker that serves the default queue."""
    return Worker.objects.create(
        hostname="web-3", pid=4711, queues=[conf.DEFAULT_QUEUE], concurrency=4, lease_seconds=60
    )


def facts_of(handle):
    run = Run.objects.select_related("flow", "version").get(pk=handle.id)
    spec = run.version.compiled
    return read_facts(run, spec, read_steps(run.pk, spec), has_payload=True)


def why(handle, step):
    facts = facts_of(handle)
    return wait_reasons.of_step(facts, facts.steps[step])


def why_task(handle, step, item=None):
    """The sentence of the panel, which asks the queue too."""
    run = Run.objects.select_related("flow", "version").get(pk=handle.id)
    context = run_page.context_of(run, Address(step=step, item=item), run_page.Sight(payload=True, logs=True))
    return context["panel"].detail.why


@pytest.fixture
def handle(flow, db):
    flow.step(name="first")(lambda: 1)
    flow.step(name="other")(lambda: 1)
    flow.step(name="after")(lambda first, other: 1)
    return flow.start()


def test_a_step_waits_for_those_before_it(handle):
    assert why(handle, "after") == "Waits for first and other."


def test_a_join_waits_for_those_that_have_not_arrived(handle, worker):
    handle.complete_step("first", 1)
    assert why(handle, "after") == "Waits for other."


def test_many_steps_before_it_are_counted(flow, db):
    for name in "abcdef":
        flow.step(name=name)(lambda: 1)
    flow.step(name="last", depends_on=list("abcdef"))(lambda: 1)
    assert why(flow.start(), "last") == "Waits for a, b, c and 3 more."


def test_a_step_that_the_run_did_not_reach(handle):
    handle.cancel()
    assert why(handle, "after") == "The run ended before it was reached."
    assert wait_reasons.of_run(facts_of(handle)) == ""


def test_no_worker_serves_the_queue(handle):
    assert why(handle, "first") == "No live worker serves queue default."
    assert wait_reasons.of_run(facts_of(handle)) == "Step first: no live worker serves queue default."


def test_a_worker_that_is_silent_for_a_lease_serves_nothing(handle, worker):
    Worker.objects.update(heartbeat_at=worker.heartbeat_at - timedelta(seconds=61))
    assert why(handle, "first") == "No live worker serves queue default."
    Worker.objects.update(heartbeat_at=worker.heartbeat_at, stopped_at=worker.heartbeat_at)
    assert why(handle, "first") == "No live worker serves queue default."


def test_queued_for_the_next_free_worker(handle, worker):
    assert why(handle, "first") == "Queued on default for the next free worker."


def test_place_in_the_queue(flow, worker):
    flow.map(name="each", count=5)(lambda index: index)
    handle = flow.start()
    assert why_task(handle, "each", 0) == "Next on queue default."
    assert why_task(handle, "each", 1) == "Queued behind 1 other on queue default."
    assert why_task(handle, "each", 4) == "Queued behind 4 others on queue default."


def test_long_queues_are_not_counted_to_their_end(flow, worker, monkeypatch):
    for module in (facts, wait_reasons):
        monkeypatch.setattr(module, "MOST_AHEAD", 3)
    flow.map(name="each", count=9)(lambda index: index)
    assert why_task(flow.start(), "each", 8) == "Queued behind 3 or more others on queue default."


def test_paused_run_tells_by_whom_since_when_and_why(handle, worker):
    pause(handle, reason="the warehouse is closed.", by="ann")
    sentence = wait_reasons.of_run(facts_of(handle))
    assert sentence.startswith("Held because the run is paused by ann since ")
    assert sentence.endswith(": the warehouse is closed.")
    assert why(handle, "first") == sentence


def test_last_pause_counts(handle, worker):
    pause(handle, reason="one", by="ann")
    handle.resume()
    pause(handle, reason="two", by="bob")
    assert "bob" in wait_reasons.of_run(facts_of(handle))
    assert wait_reasons.of_run(facts_of(handle)).endswith(": two.")


def test_run_paused_with_its_flow_tells_who_paused_the_flow(handle, worker):
    slug = handle.run.flow.slug
    pause_flow(slug, reason="maintenance", by="bob")
    assert f"flow {slug} is paused by bob" in wait_reasons.of_run(facts_of(handle))


def test_paused_queue(handle, worker):
    pause_queue("default", reason="the bank is down", by="cleo")
    assert why(handle, "first").startswith("Held because queue default is paused by cleo since ")
    assert why(handle, "first").endswith(": the bank is down.")


def test_items_beyond_max_parallel_wait_for_a_free_place(flow, worker):
    flow.map(name="each", count=5, max_parallel=2)(lambda index: index)
    handle = flow.start()
    assert why_task(handle, "each", 4) == "Held for a free place: at most 2 of its tasks run at once (max_parallel)."
    assert why(handle, "each") == "Queued on default for the next free worker."


def test_retry_that_is_not_due_tells_after_which_attempt(flow, worker):
    flow.step(name="later")(lambda: RetryAfter(timedelta(hours=1)))
    handle = flow.start()
    testing.run_until_idle()
    sentence = why(handle, "later")
    assert sentence.startswith("Not before ")
    assert ", in 59 min" in sentence or ", in 1 h" in sentence
    assert sentence.endswith(": attempt 1 failed.")
    assert why_task(handle, "later") == sentence


def test_items_that_are_not_due(flow, worker):
    flow.map(name="later", count=2)(lambda: RetryAfter(timedelta(hours=1)))
    handle = flow.start()
    testing.run_until_idle()
    assert why(handle, "later").startswith("Its next item is not tried again before ")


def test_scheduled_run_tells_when_it_starts(flow, db):
    flow.step(name="only")(lambda: 1)
    assert wait_reasons.of_run(facts_of(flow.start(delay=timedelta(days=2)))).startswith("Starts ")


def test_running_task_names_its_worker_and_the_age_of_its_heartbeat(handle, worker):
    claim.claim("default", 10, slots=10, lease=60, worker_id=worker.pk)
    assert why(handle, "first") == ""
    assert why_task(handle, "first") == "Runs on worker web-3:4711, last seen just now."
    Worker.objects.update(heartbeat_at=worker.heartbeat_at - timedelta(seconds=90))
    assert why_task(handle, "first") == "Runs on worker web-3:4711, last seen 1 min ago."


def test_what_has_ended_waits_for_nothing(handle, worker):
    testing.run_until_idle()
    facts = facts_of(handle)
    assert wait_reasons.of_run(facts) == ""
    assert [wait_reasons.of_step(facts, step) for step in facts.steps.values()] == ["", "", ""]
    assert why_task(handle, "first") == ""


def test_panel_without_a_task_has_no_detail(handle):
    run = Run.objects.select_related("flow", "version").get(pk=handle.id)
    context = run_page.context_of(run, Address(step="after"), run_page.Sight(payload=True, logs=True))
    assert context["panel"].detail is None
    assert task_panel.ITEMS == 50
