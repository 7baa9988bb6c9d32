"""The keeper against workers, and against another keeper."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from django_workflow import db, queue, startable
from django_workflow.definition.registry import registry
from django_workflow.engine.due import agenda, delayed_tasks, lost_local_runs, lost_messages, scheduled_runs
from django_workflow.engine.verbs import pause
from django_workflow.models import Task
from django_workflow.worker.loops import keeper
from django_workflow.worker.loops.keeper import Keeper
from tests.races.verbs import QUEUE, assert_nothing_is_left_open, lock_task, messages, succeed, take, task_of

TERM_IS_OVER = "UPDATE django_workflow_leader SET until = clock_timestamp() - interval '1 second'"
LOCK_TASKS = "LOCK TABLE django_workflow_task IN EXCLUSIVE MODE"


@pytest.fixture
def single(flow):
    """A flow of one step."""

    @flow.step
    def only():
        return 1

    return flow


@pytest.mark.guard("keeper_sends_again", "running_tasks_stay_hidden")
def test_after_a_purge_the_keeper_sends_again_and_each_effect_comes_once(single, session):
    runs = single.start_many(range(10))
    running = take(4)
    queue.purge(QUEUE)
    session().do(lost_messages.reconcile)
    session().do(lost_messages.reconcile)
    rest = take()
    assert {task.id for task in rest} == set(Task.objects.values_list("id", flat=True)) - {task.id for task in running}
    succeed(*running, *rest)
    assert {run.status for run in runs} == {"succeeded"}
    assert set(Task.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.guard("keeper_looks_again")
def test_a_task_that_got_its_message_while_the_keeper_looked_is_not_sent_for_twice(single, session):
    run = single.start()
    queue.purge(QUEUE)
    repairing, late = session(), session()
    repairing.begin()
    repairing.do(db.execute, LOCK_TASKS)  # others read, and wait to lock a row
    looking = late.start_and_block(lost_messages.reconcile)
    repairing.do(lost_messages.reconcile)
    repairing.commit()
    looking.result(5)
    assert messages() == 1
    (task,) = take()
    succeed(task)
    assert run.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("keeper_skips_locked")
def test_the_keeper_does_not_wait_for_a_task_that_somebody_holds(single, session):
    held, other = single.start_many(range(2))
    queue.purge(QUEUE)
    holder = session()
    holder.begin()
    holder.do(lock_task, task_of(held).id)
    session().do(lost_messages.reconcile)
    assert [task.run_id for task in take()] == [other.id]
    holder.commit()
    session().do(lost_messages.reconcile)
    assert [task.run_id for task in take()] == [held.id]


@pytest.mark.guard("one_keeper")
def test_of_two_keepers_one_leads_and_the_other_follows_when_it_is_gone(session):
    one, two = session(), session()
    first, second = Keeper(), Keeper()
    barrier = threading.Barrier(2)

    def round_of(candidate):
        barrier.wait()
        return candidate.round()

    racing = [one.start(round_of, first), two.start(round_of, second)]
    naps = [future.result(5) for future in racing]
    assert sorted(nap == keeper.CANDIDATE_EVERY for nap in naps) == [False, True]
    is_first = naps[1] == keeper.CANDIDATE_EVERY
    leader, leading = (one, first) if is_first else (two, second)
    follower, candidate = (two, second) if is_first else (one, first)
    assert follower.do(candidate.round) == keeper.CANDIDATE_EVERY
    leader.do(leading.finish)
    assert follower.do(candidate.round) != keeper.CANDIDATE_EVERY
    assert leader.do(leading.round) == keeper.CANDIDATE_EVERY


@pytest.mark.guard("keeper_has_a_term")
def test_a_keeper_that_hangs_loses_its_lead_while_its_session_lives(single, session):
    hanging, other = session(), session()
    first, second = Keeper(), Keeper()
    assert hanging.do(first.round) != keeper.CANDIDATE_EVERY
    run = single.start(delay=timedelta(hours=1))
    db.execute("UPDATE django_workflow_run SET due_at = clock_timestamp()")
    assert other.do(second.round) == keeper.CANDIDATE_EVERY
    db.execute(TERM_IS_OVER)
    assert other.do(second.round) == 0.0
    assert run.status == "running"
    # two may lead at once until the first one asks again, and then only one does
    hanging.do(agenda.what_is_due)
    first._leadership._renew_at = 0.0
    assert hanging.do(first.round) == keeper.CANDIDATE_EVERY
    assert other.do(second.round) != keeper.CANDIDATE_EVERY


@pytest.mark.guard("due_tasks_are_locked")
def test_two_keepers_send_a_delayed_task_once(single, session):
    single.start_many(range(5))
    db.execute("UPDATE django_workflow_task SET message_id = NULL, due_at = clock_timestamp()")
    queue.purge(QUEUE)
    one, two = session(), session()
    one.begin()
    assert one.do(delayed_tasks.send_due_tasks) == 5
    assert two.do(delayed_tasks.send_due_tasks) == 0
    one.commit()
    assert two.do(delayed_tasks.send_due_tasks) == 0
    assert messages() == 5


@pytest.fixture
def into_a_pause(single):
    """A run that was started into the paused flow, not marked yet."""
    single.start()
    pause.pause_flow(single.slug)
    return single.start()


@pytest.mark.guard("paused_flows_are_locked")
def test_resuming_a_flow_waits_for_a_keeper_that_marks_its_runs(single, into_a_pause, session):
    marking, resuming = session(), session()
    marking.begin()
    assert marking.do(pause.pause_with_flow) == 1
    resumed = resuming.start_and_block(pause.resume_flow, single.slug)
    marking.commit()
    resumed.result(5)
    assert into_a_pause.status == "running"


@pytest.mark.guard("paused_flows_are_locked")
def test_a_keeper_leaves_the_runs_of_a_flow_alone_that_is_being_resumed(single, into_a_pause, session):
    resuming = session()
    resuming.begin()
    resuming.do(pause.resume_flow, single.slug)
    assert session().do(pause.pause_with_flow) == 0
    resuming.commit()
    assert into_a_pause.status == "running"


@pytest.mark.guard("local_lease_comes_first")
def test_a_keeper_that_meets_a_local_run_at_its_start_does_not_take_it_for_lost(single, session, monkeypatch):
    keeping, execute_now = session(), startable.execute_run

    def execute_after_the_keeper(run_id, **options):
        keeping.do(lost_local_runs.end_lost_local_runs)
        execute_now(run_id, **options)

    monkeypatch.setattr(startable, "execute_run", execute_after_the_keeper)
    assert single.execute().status == "succeeded"


@pytest.mark.guard("unknown_conditions_wait")
def test_a_keeper_of_an_old_release_leaves_a_new_ones_scheduled_run_alone(flow, session):
    @flow.step(when=is_wanted)
    def only():
        return 1

    run = flow.start(delay=timedelta(0))
    condition = flow.spec.steps["only"].when.callable
    code = registry._callables.pop(condition)  # as if this process were of the old release
    session().do(scheduled_runs.begin_due)
    assert run.status == "scheduled"
    registry.add_callable(condition, code)
    session().do(scheduled_runs.begin_due)
    (task,) = take()
    succeed(task)
    assert run.status == "succeeded"


def is_wanted(input):
    return input is None
