"""What says nothing about the data is no outcome's fault: nothing is lost, turned, or counted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError

from django_workflow import Retry, To, testing
from django_workflow.engine.due import arrivals, scheduled_runs
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.models import Attempt, Task
from django_workflow.worker.dispatching import unsettled
from django_workflow.worker.dispatching.settler import Settler
from django_workflow.worker.dispatching.unsettled import UnsettledOutcomes
from tests.races.verbs import assert_nothing_is_left_open
from tests.trouble import PASSING, UNFIT, trouble

HOUR = timedelta(hours=1)
ENDS = "new.status IN ('succeeded', 'failed')"
ALWAYS = 1_000

pytestmark = pytest.mark.usefixtures("db")


@pytest.fixture
def once(make_flow):
    """A flow of one step that may not fail even once."""
    flow = make_flow()
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda input: input)
    return flow


def take():
    return claim.claim("default", 100, slots=100, lease=30.0)


def pile_of(tasks):
    made = UnsettledOutcomes()
    for task in tasks:
        made.add(outcome.succeeded(task, "1"))
    return made


def settle_next(made):
    """Settle the next batch, as a worker does; None where there is none."""
    batch = made.next_batch()
    if batch is None:
        return None
    Settler(lambda: None).settle(batch)
    made.end(batch)
    return batch.settled


def assert_nothing_was_counted():
    assert not Attempt.objects.exclude(outcome="released").exists()
    assert not Task.objects.filter(failure_count__gt=0).exists()
    assert_nothing_is_left_open()


@pytest.mark.parametrize("code", PASSING + UNFIT)
def test_a_success_that_cannot_be_settled_now_is_settled_later(once, code):
    run = once.start(1)
    (item,) = [outcome.succeeded(task, "1") for task in take()]
    with trouble(code, ENDS):
        with pytest.raises(DatabaseError):
            settle([item])
        assert run.status == "running"
        assert settle([item]).done == [item]
    assert run.status == "succeeded"
    assert_nothing_was_counted()


@pytest.mark.parametrize("code", [*PASSING[:2], UNFIT[0]])
def test_one_outcome_that_is_refused_for_no_fault_of_its_own_waits_alone(once, code, monkeypatch):
    monkeypatch.setattr(unsettled, "RETRIES", (0.0, 0.0))
    poison, *others = once.start_many(range(9))
    tasks = sorted(take(), key=lambda task: task.run_id == poison.id)
    made = pile_of(tasks)
    with trouble(code, f"{ENDS} AND new.run_id = '{poison.id}'", times=ALWAYS):
        for _ in range(40):
            settle_next(made)
        assert [run.status for run in others] == ["succeeded"] * 8
        assert (poison.status, len(made)) == ("running", 1)
    assert settle_next(made).done
    assert (poison.status, len(made)) == ("succeeded", 0)
    assert_nothing_was_counted()


def test_what_is_put_aside_is_tried_less_and_less_often(once, monkeypatch):
    monkeypatch.setattr(unsettled, "RETRIES", (60.0, 600.0))
    run = once.start(1)
    made = pile_of(take())
    with trouble("57014", ENDS):
        settle_next(made)
    assert settle_next(made) is None
    assert made.due_at() > unsettled.time.monotonic() + 50.0
    made.hurry()
    settle_next(made)
    assert run.status == "succeeded"


def test_a_later_outcome_of_an_attempt_does_not_overtake_one_that_is_put_aside(once, monkeypatch):
    monkeypatch.setattr(unsettled, "RETRIES", (0.0, 0.0))
    run = once.start(1)
    (task,) = take()
    made = UnsettledOutcomes()
    made.add(outcome.timed_out(task, 1.0))
    with trouble("57014", ENDS):
        settle_next(made)
    made.add(outcome.succeeded(task, "1"))
    settle_next(made)
    assert run.status == "failed"
    assert Attempt.objects.get().late_outcome == "succeeded"


@pytest.mark.parametrize("code", [*PASSING, *UNFIT])
def test_a_scheduled_run_whose_begin_cannot_be_now_begins_later(once, code):
    first, poison, last = once.start_many(range(3), delay=HOUR)
    testing.advance(HOUR)
    with trouble(code, f"new.run_id = '{poison.id}'", times=2):
        assert scheduled_runs.begin_due() == 2
        assert [first.status, poison.status, last.status] == ["running", "scheduled", "running"]
        assert scheduled_runs.begin_due() == 1
    testing.run_until_idle()
    assert [run.status for run in (first, poison, last)] == ["succeeded"] * 3
    assert_nothing_was_counted()


@pytest.mark.parametrize("code", ["57014", "XX000"])
def test_an_arrival_that_cannot_be_now_arrives_later(make_flow, code):
    flow = make_flow(entry=["a", "b"])
    flow.step(name="a", next=[To("meet", delay=HOUR)])(lambda: 1)
    flow.step(name="b", next=["meet"])(lambda: 1)
    flow.step(name="meet", join="all")(lambda: 1)
    run, other = flow.start_many(range(2))
    testing.run_until_idle()
    testing.advance(HOUR)
    with trouble(code, f"new.run_id = '{run.id}'", times=2):
        assert arrivals.arrive_due() == 1
        assert arrivals.arrive_due() == 1
    testing.run_until_idle()
    assert [run.status, other.status] == ["succeeded"] * 2
    assert_nothing_was_counted()


@pytest.fixture
def ships(make_flow):
    """A flow whose step commits together with its end, and the handler's calls."""
    flow, calls = make_flow(), []

    @flow.step(atomic=True, retry=Retry(max_attempts=1))
    def ship():
        calls.append(1)
        return Group.objects.create(name="shipped").name

    return flow, calls


@pytest.mark.parametrize("code", ["57014", "40P01", "XX000"])
def test_an_atomic_step_is_not_executed_again_where_only_its_settle_was_cancelled(ships, code):
    flow, calls = ships
    run = flow.start()
    with trouble(code, ENDS):
        testing.run_until_idle()
    assert (run.status, calls) == ("succeeded", [1])
    assert_nothing_was_counted()


@pytest.mark.parametrize("code", ["57014", "55P03", "42501"])
def test_an_atomic_step_that_cannot_commit_now_is_executed_again_uncounted(ships, code):
    flow, calls = ships
    run = flow.start()
    with trouble(code, ENDS, times=ALWAYS):
        testing.run_until_idle()
        assert not Group.objects.filter(name="shipped").exists()
    testing.advance(HOUR)
    testing.run_until_idle()
    assert (run.status, calls) == ("succeeded", [1, 1])
    assert Group.objects.filter(name="shipped").count() == 1
    assert_nothing_was_counted()


def test_an_atomic_step_that_passes_over_its_own_error_fails(flow):
    @flow.step(atomic=True, retry=Retry(max_attempts=1))
    def ship():
        try:
            Group.objects.raw("SELECT nonsense")[0]
        except DatabaseError:
            return 1

    run = flow.start()
    testing.run_until_idle()
    assert run.status == "failed"
    assert Task.objects.get().failure_count == 1


@pytest.mark.parametrize("code", ["57014", "40P01", "55P03"])
def test_execute_settles_again_what_was_cancelled(once, code):
    with trouble(code, ENDS):
        assert once.execute(7).status == "succeeded"
    assert_nothing_was_counted()


def test_execute_in_a_transaction_settles_again_what_was_cancelled(once, db):
    with trouble("57014", ENDS):
        assert once.execute(7).status == "succeeded"


def test_what_a_handler_logged_and_cannot_be_stored_costs_execute_nothing(flow, caplog):
    flow.step(name="only")(lambda ctx: ctx.logger.warning("told"))
    with trouble("57014", "true", table="django_workflow_tasklog"):
        assert flow.execute().status == "succeeded"
    assert "lines that a handler logged cannot be stored" in caplog.text
