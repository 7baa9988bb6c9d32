"""An operator ends a step, or retries a run, while something else happens to it."""

from __future__ import annotations

import contextlib
import threading

import pytest

from django_workflow import AlreadySettled, Retry, complete_step, skip_step
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import outcome
from django_workflow.models import Run, StepRun, Task
from tests.races.verbs import assert_nothing_is_left_open, attempts_of, succeed, take

WAIT = 10_000


@pytest.fixture
def chain(flow):
    """A step, and one that follows it."""

    @flow.step(retry=Retry(max_attempts=1))
    def first():
        return 1

    @flow.step
    def second(first):
        return first

    return flow


@pytest.mark.guard("ended_is_ended")
@pytest.mark.parametrize("verb", [skip_step, complete_step])
def test_a_completion_that_waits_for_an_operator_who_ends_the_step_is_late(chain, session, verb):
    run = chain.start()
    (task,) = take()
    operator, worker = session(), session()
    operator.begin()
    operator.do(verb, run, "first")
    settling = worker.start_and_block(succeed, task, output="9", wait_ms=WAIT)
    operator.commit()
    assert settling.result(5).superseded == {task.id}
    (attempt,) = attempts_of(task.id)
    assert (attempt.outcome, attempt.late_outcome) == ("cancelled", "succeeded")
    (following,) = take()
    assert following.dependencies["first"].value is None
    succeed(following)
    assert run.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
@pytest.mark.parametrize("verb", [skip_step, complete_step])
def test_an_operator_who_waits_for_the_completion_comes_too_late(chain, session, verb):
    run = chain.start()
    (task,) = take()
    operator, worker = session(), session()
    worker.begin()
    worker.do(succeed, task, output="9")
    ending = operator.start_and_block(verb, run, "first")
    worker.commit()
    with pytest.raises(AlreadySettled):
        ending.result(5)
    (following,) = take()
    assert following.dependencies["first"].value == 9
    assert StepRun.objects.filter(run_id=run.id).count() == 2


@pytest.fixture
def joined(flow):
    """Two branches and a join."""

    @flow.step
    def left():
        return 1

    @flow.step
    def right():
        return 2

    @flow.step
    def join(left, right):
        return left + right

    return flow


@pytest.mark.guard("run_is_locked_first", "ended_joins_have_fired")
def test_the_last_arrival_at_a_join_that_an_operator_ends_does_not_start_it(joined, session):
    run = joined.start()
    one, two = take()
    succeed(one)
    operator, worker = session(), session()
    operator.begin()
    operator.do(complete_step, run, "join", 7)
    settling = worker.start_and_block(succeed, two, wait_ms=WAIT)
    operator.commit()
    settling.result(5)
    assert (run.status, run.result().output) == ("succeeded", {"join": 7})
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_skips_and_completions_in_any_order_leave_every_run_consistent(flow, session):
    @flow.map(over="input")
    def each(item):
        return item

    @flow.step
    def after(each):
        return each

    runs = flow.start_many([[1, 2]] * 80)
    tasks = take(200)
    barrier = threading.Barrier(3)

    def skip():
        for run in runs:
            barrier.wait()
            with contextlib.suppress(AlreadySettled):
                run.skip_step("each")

    def complete(items):
        by_run = {task.run_id: task for task in items}
        for run in runs:
            barrier.wait()
            succeed(by_run[run.id], wait_ms=WAIT)

    racing = [
        session().start(work, *mine) for work, *mine in ((skip,), (complete, tasks[::2]), (complete, tasks[1::2]))
    ]
    try:
        for future in racing:
            future.result(20)
    finally:
        barrier.abort()
    assert set(Run.objects.values_list("status", "open_steps")) == {("running", 1)}
    assert not StepRun.objects.filter(step="each").unsettled().exists()
    assert not Task.objects.filter(step_run__step="each").unsettled().exists()
    following = take(200)
    assert len(following) == 80
    succeed(*following)
    assert set(Run.objects.values_list("status", "open_steps")) == {("succeeded", 0)}
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_retries_of_one_run_at_once_make_one_run(chain, session):
    old = chain.start()
    (task,) = take()
    settle([outcome.failed(task, outcome.ErrorRecord("Error", "no"), is_retryable=False)])
    assert old.status == "failed"
    first, second = session(), session()
    first.begin()
    made = first.do(old.retry)
    retrying = second.start_and_block(old.retry)
    first.commit()
    assert retrying.result(5) == made
    assert Run.objects.filter(retry_of_id=old.id).count() == 1
