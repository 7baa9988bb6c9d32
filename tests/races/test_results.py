"""Results that come late, twice, together, or that nobody can store."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import Retry, db
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import leases, outcome
from django_workflow.models import Attempt, Run, Task
from tests.races.verbs import (
    assert_nothing_is_left_open,
    assert_nothing_was_refused,
    attempts_of,
    expire_leases,
    lock_run,
    settle_losses,
    succeed,
    take,
    take_one,
    task_of,
)

AT_ONCE = Retry(max_attempts=3, base=timedelta(milliseconds=1), jitter=False)


@pytest.fixture
def single(flow):
    """A flow of one step that may fail three times."""

    @flow.step(retry=AT_ONCE)
    def only():
        return 1

    return flow


def taken_over(session):
    """Return an attempt whose lease ran out, and the one that took its place."""
    old = session().do(take_one)
    expire_leases()
    new = take_one()
    settle_losses([new])
    new.is_lost = False
    return old, new


def error(name="Boom"):
    return outcome.ErrorRecord(name, "it failed", classes=(name,))


@pytest.mark.guard("end_is_fenced")
def test_a_late_result_after_lease_expiry_is_recorded_and_changes_nothing(single, session):
    run = single.start()
    old, new = taken_over(session)
    late = session().do(succeed, old, output='"late"')
    assert late.superseded
    task = task_of(run)
    assert (task.status, task.output, task.lease_id) == ("running", None, new.lease_id)
    (attempt,) = attempts_of(task.id)
    assert attempt.superseded_at is not None
    assert (attempt.outcome, attempt.late_outcome) == ("lost", "succeeded")
    succeed(new, output='"in time"')
    assert run.result().output == {"only": "in time"}
    assert_nothing_is_left_open()


CLAIM_WAS_LOST = """
    UPDATE django_workflow_task SET status = 'queued', attempt = 0, lease_id = NULL, begun_at = NULL WHERE id = %s
"""


@pytest.mark.guard("leases_are_random")
def test_a_holder_from_before_a_crash_is_fenced_though_the_attempt_number_is_the_same(single, session):
    run = single.start()
    old = session().do(take_one)
    # what a crash leaves of a claim whose commit had not reached the disk
    db.execute(CLAIM_WAS_LOST, [old.id])
    expire_leases()
    new = take_one()
    assert old.attempt == new.attempt == 1
    session().do(succeed, old, output='"before"')
    assert run.status == "running"
    succeed(new, output='"after"')
    assert run.result().output == {"only": "after"}


@pytest.mark.guard("fence_is_per_lease")
def test_a_late_result_in_one_pile_with_its_successor_changes_nothing(single, session):
    run = single.start()
    old, new = taken_over(session)
    late = outcome.failed(old, error(), is_retryable=False)
    assert len(settle([late, outcome.succeeded(new, '"in time"')]).done) == 2
    assert run.result().output == {"only": "in time"}
    assert [attempt.late_outcome for attempt in attempts_of(new.id)] == ["failed"]
    assert_nothing_is_left_open()


@pytest.mark.guard("fence_is_per_lease")
def test_a_late_result_in_one_pile_with_the_loss_it_became_does_not_end_the_task(single, session):
    run = single.start()
    old = session().do(take_one)
    expire_leases()
    new = take_one()
    result = settle([outcome.succeeded(old, '"late"'), outcome.lost(new, 30.0)])
    assert (run.status, task_of(run).status) == ("running", "running")
    assert [item.task.lease_id for item in result.done if item.kind == "lost"] == [new.lease_id]
    succeed(new, output='"in time"')
    assert run.result().output == {"only": "in time"}
    assert_nothing_is_left_open()


@pytest.mark.guard("first_outcome_counts")
def test_a_result_that_comes_after_the_timeout_is_late_even_in_the_same_pile(single):
    run = single.start()
    task = take_one()
    settle([outcome.timed_out(task, 1.0), outcome.succeeded(task, '"late"')])
    assert (run.status, task_of(run).status) == ("running", "queued")
    (attempt,) = attempts_of(task.id)
    assert (attempt.outcome, attempt.late_outcome) == ("timed_out", "succeeded")
    expire_leases()
    succeed(take_one(), output='"in time"')
    assert run.result().output == {"only": "in time"}
    assert_nothing_is_left_open()


@pytest.mark.guard("ended_is_ended")
def test_a_settle_that_is_repeated_after_a_lost_answer_is_applied_once(flow, caplog):
    @flow.step(retry=AT_ONCE)
    def begin():
        return 1

    @flow.step
    def after(begin):
        return begin

    good, bad = flow.start_many(range(2))
    pile = [
        outcome.succeeded(task, "1") if task.run_id == good.id else outcome.failed(task, error()) for task in take()
    ]
    settle(pile)
    again = settle(pile)
    assert len(again.done) == 2
    assert Task.objects.filter(run_id=good.id).count() == 2
    assert Run.objects.get(id=good.id).open_steps == 1
    (attempt,) = Attempt.objects.all()
    assert (attempt.run_id, attempt.outcome, attempt.superseded_at) == (bad.id, "failed", None)
    assert task_of(bad).failure_count == 1
    assert_nothing_was_refused(caplog)


@pytest.mark.guard("one_row_per_attempt")
def test_a_loss_that_is_settled_again_is_recorded_once(single, session):
    run = single.start()
    session().do(take_one)
    expire_leases()
    new = take_one()
    assert settle_losses([new]).may_begin
    assert settle_losses([new]).may_begin, "its new attempt may begin: nobody else has it"
    assert len(attempts_of(new.id)) == 1
    assert task_of(run).failure_count == 1


@pytest.mark.guard("piles_are_split")
def test_one_poison_outcome_in_a_pile_fails_alone(single):
    runs = single.start_many(range(6))
    tasks = {task.run_id: task for task in take()}
    pile = [outcome.succeeded(tasks[run.id], "1") for run in runs]
    pile[3].output = '"\\u0000"'  # PostgreSQL refuses it as jsonb
    assert len(settle(pile).done) == 6
    assert [run.status for run in runs] == [*["succeeded"] * 3, "failed", *["succeeded"] * 2]
    assert "0000" in runs[3].result().error["message"]
    assert_nothing_is_left_open()


@pytest.mark.guard("piles_are_split")
def test_one_poison_item_of_a_map_fails_alone(flow):
    @flow.map(over="input", tolerate=1)
    def each(item):
        return item

    run = flow.start([1, 2, 3])
    pile = [outcome.succeeded(task, task.item) for task in take()]
    pile[1].output = "{"
    settle(pile)
    assert run.result().output == {"each": [1, None, 3]}
    assert_nothing_is_left_open()


@pytest.mark.guard("settle_skips_locked_runs")
def test_a_run_that_a_request_holds_does_not_keep_the_others_from_settling(single, session):
    held, *others = single.start_many(range(4))
    request = session()
    request.begin()
    request.do(lock_run, held.id)
    result = session().do(succeed, *take())
    assert [item.task.run_id for item in result.left] == [held.id]
    assert [run.status for run in others] == ["succeeded"] * 3
    request.commit()
    settle(result.left)
    assert held.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("begin_is_fenced")
def test_an_attempt_whose_lease_is_over_does_not_begin(single, session):
    single.start()
    old, new = taken_over(session)
    assert session().do(leases.begin, [old]) == set()
    assert leases.begin([new]) == {new.id}
