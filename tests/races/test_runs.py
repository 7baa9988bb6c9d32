"""Two things happen to one run at once."""

from __future__ import annotations

import threading

import pytest
from django.db.utils import OperationalError

from django_workflow import AlreadySettled, db
from django_workflow.engine.verbs.start import StartRequest, start
from django_workflow.models import Run, StepRun, Task
from tests.races.verbs import assert_nothing_is_left_open, assert_nothing_was_refused, succeed, take

WAIT = 10_000


@pytest.mark.guard("run_is_locked_first", "counters_are_read_under_the_lock")
def test_the_last_two_items_of_a_map_at_once_give_the_full_output(flow, session):
    @flow.map(over="input")
    def each(item):
        return item

    run = flow.start([10, 20])
    one, two = take()
    first, second = session(), session()
    first.begin()
    first.do(succeed, one, output="10")
    settling = second.start_and_block(succeed, two, output="20", wait_ms=WAIT)
    first.commit()
    settling.result(5)
    assert run.result().output == {"each": [10, 20]}
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_the_last_arrivals_at_a_join_at_once_activate_it_once(flow, session):
    @flow.step
    def left():
        return 1

    @flow.step
    def right():
        return 2

    @flow.step
    def join(left, right):
        return left + right

    run = flow.start()
    one, two = take()
    first, second = session(), session()
    first.begin()
    first.do(succeed, one)
    settling = second.start_and_block(succeed, two, wait_ms=WAIT)
    first.commit()
    settling.result(5)
    (activation,) = StepRun.objects.filter(run_id=run.id, step="join")
    assert activation.status == "running"
    (task,) = take()
    succeed(task)
    assert run.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("ended_is_ended")
def test_a_completion_that_waits_for_a_cancel_is_late(flow, session, caplog):
    @flow.step
    def only():
        return 1

    run = flow.start()
    (task,) = take()
    canceller, worker = session(), session()
    canceller.begin()
    canceller.do(run.cancel, "no longer wanted")
    settling = worker.start_and_block(succeed, task, wait_ms=WAIT)
    canceller.commit()
    assert settling.result(5).superseded
    assert run.status == "cancelled"
    assert_nothing_was_refused(caplog)
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_a_cancel_that_waits_for_the_completion_comes_too_late(flow, session):
    @flow.step
    def only():
        return 1

    run = flow.start()
    (task,) = take()
    canceller, worker = session(), session()
    worker.begin()
    worker.do(succeed, task)
    cancelling = canceller.start_and_block(run.cancel)
    worker.commit()
    with pytest.raises(AlreadySettled):
        cancelling.result(5)
    assert run.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_cancels_and_completions_in_any_order_leave_every_run_consistent(flow, session):
    @flow.map(over="input")
    def each(item):
        return item

    @flow.step
    def after(each):
        return each

    runs = flow.start_many([[1, 2]] * 80)
    tasks = take(200)
    barrier = threading.Barrier(3)

    def cancel():
        for run in runs:
            barrier.wait()
            run.cancel()

    def complete(items):
        by_run = {task.run_id: task for task in items}
        for run in runs:
            barrier.wait()
            succeed(by_run[run.id], wait_ms=WAIT)

    racing = [
        session().start(work, *mine) for work, *mine in ((cancel,), (complete, tasks[::2]), (complete, tasks[1::2]))
    ]
    try:
        for future in racing:
            future.result(20)
    finally:
        barrier.abort()
    assert set(Run.objects.values_list("status", "open_steps")) == {("cancelled", 0)}
    assert not Task.objects.unsettled().exists()
    assert_nothing_is_left_open()


@pytest.fixture
def single(flow):
    """A flow of one step."""

    @flow.step
    def only():
        return 1

    flow.start()  # published
    return flow


@pytest.mark.guard("second_start_finds_the_first")
def test_starts_with_one_idempotency_key_at_once_make_one_run(single, session):
    first, second = session(), session()
    first.begin()
    made = first.do(single.start, idempotency_key="order 7")
    starting = second.start_and_block(single.start, idempotency_key="order 7")
    first.commit()
    assert starting.result(5).id == made.id
    assert Run.objects.filter(idempotency_key="order 7").count() == 1
    assert Task.objects.filter(run_id=made.id).count() == 1


@pytest.mark.guard("second_start_finds_the_first")
def test_a_start_whose_key_was_rolled_back_by_another_makes_its_own_run(single, session):
    first, second = session(), session()
    first.begin()
    gone = first.do(single.start, idempotency_key="order 7")
    starting = second.start_and_block(single.start, idempotency_key="order 7")
    first.rollback()
    made = starting.result(5)
    assert made.id != gone.id
    again = second.do(single.start, idempotency_key="order 7")
    assert again.id == made.id == Run.objects.get(idempotency_key="order 7").id


TASKS = "django_workflow_task"
REWIND = "SELECT setval(pg_get_serial_sequence('django_workflow_task', 'id'), %s)"


@pytest.mark.guard("drawn_ids_end_with_their_session")
def test_ids_that_were_drawn_before_a_crash_are_not_used_after_it(session):
    survivor, other = session(), session()
    (first,) = survivor.do(db.draw_ids, TASKS, 1)
    # what a crash leaves of a sequence from which this session had drawn a hundred ids
    db.rows(REWIND, [first])
    survivor.do(db.close)
    others = other.do(db.draw_ids, TASKS, 5)
    assert set(survivor.do(db.draw_ids, TASKS, 5)).isdisjoint(others)


@pytest.mark.guard("keys_are_inserted_in_order")
def test_starts_of_many_keys_in_opposite_order_do_not_deadlock(single, session):
    spec = single.current_spec()

    def start_all(keys):
        return start(spec, [StartRequest(idempotency_key=key) for key in keys])

    between, one, two = session(), session(), session()
    between.begin()
    between.do(start_all, ["m"])
    forward = one.start_and_block(start_all, ["a", "m", "z"])  # at "m", with "a" in hand
    backward = two.start_and_block(start_all, ["z", "m", "a"])  # at "a"; in its own order at "m", with "z" in hand
    between.rollback()
    try:
        assert forward.result(10) == backward.result(10)[::-1]
    except OperationalError as error:
        raise AssertionError(str(error)) from error
