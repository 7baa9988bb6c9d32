"""Operators end single steps: as skipped, or completed with an output of their own."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from django_workflow import (
    AlreadySettled,
    NotSupported,
    PayloadError,
    Retry,
    RunNotFound,
    Skip,
    UnregisteredHandler,
    acomplete_step,
    askip_step,
    complete_step,
    condition,
    db,
    skip_step,
    testing,
)
from django_workflow.definition.registry import registry
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import Attempt, Event, StepRun, Task
from django_workflow.notifications import CONTROL_CHANNEL
from tests.waiting import eventually


@pytest.fixture
def chain(flow):
    """Two steps, the second with what the first gave."""
    flow.step(name="first")(lambda: 1)
    flow.step(name="second")(lambda first="absent": [first])
    return flow


def take(count=1):
    tasks = claim.claim("default", 100, slots=100, lease=60)
    assert len(tasks) == count
    return tasks


def perform(tasks):
    return settle([testing.perform(task) for task in tasks])


def step_of(run, name):
    return StepRun.objects.get(run_id=run.id, step=name)


def nothing_is_open(run):
    rows = [StepRun.objects.filter(run_id=run.id), Task.objects.of_run(run.id)]
    return not any(row.unsettled().exists() for row in rows)


def test_a_skipped_step_lets_the_run_go_on_without_its_output(chain, db):
    run = chain.start()
    assert run.skip_step("first", "not needed", by="ann") is run
    step = step_of(run, "first")
    assert (step.status, step.reason, step.open_tasks) == ("skipped", "operator", 0)
    assert testing.run_until_idle() == 1
    assert run.result().output == {"second": ["absent"]}
    event = Event.objects.get(run_id=run.id, type="step.skipped")
    assert (event.step, event.data) == ("first", {"reason": "operator", "by": "ann", "why": "not needed"})
    assert nothing_is_open(run)


def test_a_completed_step_gives_the_operators_value(chain, db):
    run = chain.start()
    run.complete_step("first", {"given": True}, reason="known", by="ann")
    task = Task.objects.get(step_run=step_of(run, "first"), status="succeeded")
    assert (task.origin, task.output) == ("override", {"given": True})
    assert Task.objects.get(step_run=step_of(run, "first"), status="cancelled").message_id is not None
    testing.run_until_idle()
    assert run.result().output == {"second": [{"given": True}]}
    event = Event.objects.get(run_id=run.id, type="step.completed", step="first")
    assert event.data == {"reason": "operator", "by": "ann", "why": "known"}


@pytest.mark.parametrize("level", ["run", "step"])
def test_who_ended_a_step_is_recorded_at_every_level(chain, db, settings, level):
    settings.DJANGO_WORKFLOW = {"EVENT_LEVEL": level}
    run = chain.start()
    run.skip_step("first", by="ann")
    run.complete_step("second", 1, by="ben")
    told = Event.objects.filter(run_id=run.id, data__has_key="by").values_list("type", "data__by")
    assert list(told) == [("step.skipped", "ann"), ("step.completed", "ben")]


@pytest.mark.parametrize("value", [None, 0, "", [], False, {"a": [1]}])
def test_any_json_value_is_given_as_it_is(chain, db, value):
    run = chain.start()
    run.complete_step("first", value)
    testing.run_until_idle()
    assert run.result().output == {"second": [value]}


def test_the_last_step_ends_the_run(flow, db):
    flow.step(name="only")(lambda: 1)
    completed, skipped = flow.start(), flow.start()
    assert completed.complete_step("only", 7).status == "succeeded"
    assert skipped.skip_step("only").status == "succeeded"
    assert (completed.result().output, skipped.result().output) == ({"only": 7}, {})
    assert testing.run_until_idle() == 0


@pytest.mark.parametrize("value", [["x"], {"not": "a list"}, None])
def test_a_map_is_completed_as_a_whole(flow, db, value):
    flow.map(count=4, name="each", max_parallel=2)(lambda index: index)
    flow.step(name="after")(lambda each: {"got": each})
    run = flow.start()
    first, second = take(2)
    perform([first])
    run.complete_step("each", value)
    assert perform([second]).superseded == {second.id}
    testing.run_until_idle()
    assert run.result().output == {"after": {"got": value}}
    statuses = Task.objects.filter(step_run=step_of(run, "each")).order_by("index").values_list("status", flat=True)
    assert list(statuses) == ["succeeded", "succeeded", "cancelled", "cancelled", "cancelled"]
    assert nothing_is_open(run)


def test_a_map_over_a_completed_map_takes_the_given_items(flow, db):
    flow.map(count=2, name="each")(lambda index: index)
    flow.map(name="again", over="each")(lambda item: item * 2)
    run = flow.start()
    run.complete_step("each", [1, 2, 3])
    testing.run_until_idle()
    assert run.result().output == {"again": [2, 4, 6]}


def test_result_of_a_handler_that_ran_is_superseded_and_can_be_seen(chain, db):
    run = chain.start()
    tasks = take()
    run.complete_step("first", 100)
    assert perform(tasks).superseded == {tasks[0].id}
    attempt = Attempt.objects.get(task_id=tasks[0].id)
    assert (attempt.outcome, attempt.late_outcome, attempt.superseded_at is not None) == (
        *("cancelled", "succeeded", True),
    )
    testing.run_until_idle()
    assert run.result().output == {"second": [100]}


def test_running_handlers_are_told(chain, workflow_queues):
    run = chain.start()
    take()
    with db.listen([CONTROL_CHANNEL]) as listener:
        run.skip_step("first")
        assert set(listener.notifications(5.0)) == {(CONTROL_CHANNEL, f"run:{run.id}")}


@pytest.mark.usefixtures("workflow_queues")
def test_a_handler_that_runs_in_a_worker_is_stopped_and_the_run_goes_on(flow, work):
    begun, stopped = threading.Event(), threading.Event()

    @flow.step
    def slow():
        begun.set()
        try:
            while True:
                pass
        except BaseException:
            stopped.set()
        return "too late"

    flow.step(name="after")(lambda slow: slow)
    run = flow.start()
    work()
    assert begun.wait(20)
    run.complete_step("slow", "given")
    assert run.wait(20).output == {"after": "given"}
    assert stopped.wait(60)
    attempt = Attempt.objects.filter(run_id=run.id, outcome="cancelled")
    eventually(lambda: attempt.get().superseded_at, "the late result is recorded")


@pytest.fixture
def joined(flow):
    """Two branches and a join."""
    flow.step(name="left")(lambda: 1)
    flow.step(name="right")(lambda: 2)
    flow.step(name="join")(lambda left, right: [left, right])
    flow.step(name="after")(lambda join="absent": {"after": join})
    return flow


@pytest.mark.parametrize("verb", ["skip", "complete"])
def test_a_join_that_waits_can_be_ended_and_is_not_started_again(joined, db, verb):
    run = joined.start()
    left, right = sorted(take(2), key=lambda task: task.id)
    perform([left])
    assert step_of(run, "join").status == "waiting"
    if verb == "skip":
        run.skip_step("join")
    else:
        run.complete_step("join", "given")
    assert run.status == "running"
    perform([right])
    testing.run_until_idle()
    assert run.result().output == {"after": {"after": "given" if verb == "complete" else "absent"}}
    assert StepRun.objects.filter(run_id=run.id, step="join").count() == 1
    assert nothing_is_open(run)


def test_a_branch_can_be_ended_so_that_the_join_starts(joined, db):
    run = joined.start()
    run.skip_step("left")
    run.complete_step("right", 5)
    testing.run_until_idle()
    assert run.result().output == {"after": {"after": [None, 5]}}


def test_a_step_that_waits_for_its_next_attempt_can_be_ended(flow, db):
    @flow.step(retry=Retry(base=timedelta(hours=1), jitter=False))
    def flaky():
        raise RuntimeError

    run = flow.start()
    testing.run_until_idle()
    run.complete_step("flaky", "by hand")
    testing.advance(timedelta(days=1))
    assert testing.run_until_idle() == 0
    assert run.result().output == {"flaky": "by hand"}


def test_in_a_paused_run_the_successors_are_held(chain, db):
    run = chain.start()
    run.pause()
    run.complete_step("first", 1)
    task = Task.objects.get(step_run=step_of(run, "second"))
    assert (run.status, task.status, task.hold_reason) == ("paused", "held", "paused")
    assert testing.run_until_idle() == 0
    run.resume()
    testing.run_until_idle()
    assert run.result().output == {"second": [1]}


def test_a_paused_run_may_be_ended_by_its_last_step(chain, db):
    run = chain.start()
    run.pause()
    run.skip_step("first")
    assert run.skip_step("second").status == "succeeded"


def test_repeating_what_took_effect_changes_nothing(chain, db):
    run = chain.start()
    run.skip_step("first")
    run.skip_step("first", "again")
    run.complete_step("second", {"a": 1, "b": 2})
    assert run.status == "succeeded"
    run.complete_step("second", {"b": 2, "a": 1})
    run.skip_step("first")
    assert Event.objects.filter(run_id=run.id, data__reason="operator").count() == 2


def test_any_other_verb_on_a_settled_step_is_refused(chain, db):
    run = chain.start()
    run.complete_step("first", 1)
    for again in (lambda: run.complete_step("first", 2), lambda: run.skip_step("first")):
        with pytest.raises(AlreadySettled, match=r"Step 'first' of run .* has already ended succeeded"):
            again()
    testing.run_until_idle()
    with pytest.raises(AlreadySettled):
        run.skip_step("second")
    assert run.result().output == {"second": [1]}


def test_a_step_that_skipped_itself_was_not_skipped_by_an_operator(flow, db):
    flow.step(name="only")(lambda: Skip("no need"))
    run = flow.start()
    testing.run_until_idle()
    with pytest.raises(AlreadySettled, match="has already ended skipped"):
        run.skip_step("only")


def test_a_step_that_was_never_reached_is_refused_with_a_word_on_it(chain, db):
    run = chain.start()
    with pytest.raises(NotSupported, match="has not reached step 'second' yet"):
        run.complete_step("second", 1)
    with pytest.raises(NotSupported, match="has no step 'third', only first, second"):
        run.skip_step("third")
    run.cancel()
    with pytest.raises(AlreadySettled, match=r"Run .* has already ended cancelled"):
        run.skip_step("second")
    with pytest.raises(AlreadySettled, match="Step 'first'"):
        run.skip_step("first")
    with pytest.raises(RunNotFound):
        skip_step(uuid.uuid4(), "first")


def test_a_value_that_cannot_be_stored_is_refused(chain, db, settings):
    settings.DJANGO_WORKFLOW = {"MAX_OUTPUT_BYTES": 100}
    run = chain.start()
    for value in ({"at": object()}, float("nan"), "x" * 200):
        with pytest.raises(PayloadError, match="step 'first'"):
            complete_step(run, "first", value)
    assert step_of(run, "first").status == "running"


def test_a_process_without_the_code_of_a_condition_refuses(flow, db, monkeypatch):
    @condition("is_wanted")
    def is_wanted(outputs):
        return True

    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"], when=is_wanted)(lambda: 1)
    run = flow.start()
    monkeypatch.delitem(registry._callables, flow.spec.steps["second"].when.callable)
    with pytest.raises(UnregisteredHandler, match="has no code for"):
        run.skip_step("first")
    assert step_of(run, "first").status == "running"


def test_a_given_output_decides_conditions_and_can_fail_the_run(flow, db):
    flow.step(name="first")(lambda: {"n": 1})
    flow.step(name="second", depends_on=["first"], when="outputs.first.n > 1")(lambda: "ran")
    run = flow.start()
    run.complete_step("first", {"n": 5})
    testing.run_until_idle()
    assert run.result().output == {"second": "ran"}
    broken = flow.start()
    assert broken.complete_step("first", "no object").status == "failed"
    assert nothing_is_open(broken)


def test_ending_a_step_is_rolled_back_with_its_transaction(chain, workflow_queues):
    run = chain.start()
    with transaction.atomic():
        run.skip_step("first")
        transaction.set_rollback(True)
    testing.run_until_idle()
    assert run.result().output == {"second": [1]}


def test_a_retry_carries_what_an_operator_gave(flow, db):
    flow.map(count=2, name="each")(lambda index: index)
    flow.step(name="left_out", depends_on=["each"])(lambda: 1)
    broken = [True]

    @flow.step(retry=Retry(max_attempts=1))
    def after(each, left_out="absent"):
        if broken:
            raise RuntimeError
        return [each, left_out]

    run = flow.start()
    run.complete_step("each", "given")
    run.skip_step("left_out")
    testing.run_until_idle()
    assert run.status == "failed"
    broken.clear()
    new = run.retry()
    testing.run_until_idle()
    assert new.result().output == {"after": ["given", "absent"]}


def test_twins_do_the_same_asynchronously(chain, db):
    run = chain.start()

    async def story():
        await askip_step(run, "first")
        await acomplete_step(run.id, "second", 3)
        return await run.aretry("all")

    new = async_to_sync(story)()
    assert run.result().output == {"second": 3}
    assert new.run.retry_of_id == run.id
