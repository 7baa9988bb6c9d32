"""Who gets a task when several reach for it."""

from __future__ import annotations

import threading

import pytest

from django_workflow import Retry, db, queue
from django_workflow.engine.tasks import external, leases
from django_workflow.engine.verbs.start import StartRequest, start
from django_workflow.models import Task
from tests.races.sessions import SECONDS
from tests.races.verbs import (
    QUEUE,
    assert_nothing_is_left_open,
    attempts_of,
    expire_leases,
    lock_task,
    messages,
    settle_losses,
    succeed,
    take,
    take_one,
    task_of,
)
from tests.waiting import eventually

SEND_AGAIN = "SELECT pgmq.send(%s, jsonb_build_object('task', %s::bigint))"


@pytest.fixture
def single(flow):
    """A flow of one step."""

    @flow.step
    def only():
        return 1

    return flow


@pytest.mark.guard("reading_hides")
def test_two_workers_claim_each_message_once(single, session):
    single.start_many(range(200))
    barrier = threading.Barrier(4)

    def claim_all():
        barrier.wait()
        taken = []
        while (tasks := take(7)) and len(taken) < 1_000:
            taken += tasks
        return taken

    claims = [session().start(claim_all) for _ in range(4)]
    taken = [task for future in claims for task in future.result(20)]
    assert sorted(task.id for task in taken) == sorted(Task.objects.values_list("id", flat=True))
    assert set(Task.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.guard("read_before_take")
def test_starts_during_claims_leave_no_orphan(single, session):
    starters, claimers = [session() for _ in range(2)], [session() for _ in range(2)]
    single.start()  # published
    started = threading.Event()

    def start_some():
        for _ in range(50):
            start(single.current_spec(), [StartRequest() for _ in range(4)])

    def claim_all():
        taken = []
        while True:
            is_last = started.is_set()
            tasks = take(10)
            taken += tasks
            if is_last and not tasks and queue.depth(QUEUE)[0] == 0:
                return taken

    claims = [claimer.start(claim_all) for claimer in claimers]
    for starting in [starter.start(start_some) for starter in starters]:
        starting.result(30)
    started.set()
    taken = {task.id for future in claims for task in future.result(30)}
    orphans = Task.objects.exclude(id__in=taken).count()
    assert orphans == 0, (
        f"{orphans} of {Task.objects.count()} messages were read by a claim that did not see their tasks"
    )


@pytest.mark.guard("take_skips_locked", "dropping_reads_unlocked")
def test_a_locked_task_is_neither_waited_for_nor_dropped(single, session):
    first, second = single.start_many(range(2))
    holder, claimer = session(), session()
    holder.begin()
    holder.do(lock_task, task_of(first).id)
    claimed = claimer.do(take)
    assert [task.run_id for task in claimed] == [second.id]
    assert messages() == 2
    holder.commit()
    expire_leases()
    assert first.id in {task.run_id for task in take()}


@pytest.mark.guard("one_valid_message")
def test_a_duplicate_message_is_dropped_and_the_live_attempt_goes_on(single, session):
    run = single.start()
    task = take_one()
    db.rows(SEND_AGAIN, [queue.PREFIX + QUEUE, task.id])
    assert session().do(take) == []
    assert messages() == 1
    succeed(task)
    assert run.status == "succeeded"
    assert attempts_of(task.id) == []
    assert_nothing_is_left_open()


@pytest.mark.guard("running_tasks_are_taken")
def test_tasks_of_a_vanished_worker_run_again_after_their_lease(single, session):
    run = single.start()
    vanished = session()
    lost = vanished.do(take_one)
    vanished.close()
    expire_leases()
    found = take_one()
    assert found.is_lost
    assert found.lease_id != lost.lease_id
    assert settle_losses([found]).may_begin
    assert leases.begin([found]) == {found.id}
    succeed(found)
    assert run.status == "succeeded"
    (attempt,) = attempts_of(found.id)
    assert (attempt.outcome, attempt.lease_id, attempt.number) == ("lost", lost.lease_id, 1)


@pytest.mark.guard("losses_are_counted")
def test_a_crash_loop_ends_after_max_attempts(flow):
    @flow.step(retry=Retry(max_attempts=3))
    def crash():
        """Its worker never comes back."""

    run = flow.start()
    take_one()
    for _ in range(5):
        expire_leases()
        for task in take():
            if settle_losses([task]).may_begin:
                task.is_lost = False
                leases.begin([task])
    assert run.status == "failed"
    assert [attempt.outcome for attempt in attempts_of(task_of(run).id) if attempt.is_counted] == ["lost"] * 3
    assert_nothing_is_left_open()


@pytest.mark.guard("begin_marks_tell")
def test_neighbours_that_never_began_are_not_counted(single):
    single.start_many(range(6))
    begun = {task.id for task in take(slots=2) if task.is_begun}
    assert len(begun) == 2
    expire_leases()
    found = take()
    assert len(found) == 6
    settle_losses(found)
    counted = set(Task.objects.filter(failure_count=1).values_list("id", flat=True))
    assert counted == begun
    assert set(Task.objects.values_list("lost_count", flat=True)) == {1}


@pytest.mark.guard("begin_skips_locked")
def test_a_worker_that_marks_begins_never_waits_for_whoever_ends_the_tasks(single, session):
    first, second = single.start_many(range(2))
    tasks = {task.run_id: task for task in take(slots=0)}
    ending = session()
    ending.begin()
    ending.do(succeed, tasks[second.id])
    # a begin that waited here, holding the first task, could meet a cancel that waits for the first
    assert session().do(leases.begin, [tasks[first.id], tasks[second.id]]) == {tasks[first.id].id}
    ending.commit()


OF_A_NEWER_RELEASE = """
    WITH written AS (
        INSERT INTO django_workflow_flowversion (flow_id, number, fingerprint, spec, created_at)
        SELECT v.flow_id, v.number + 1, 'newer', jsonb_set(v.spec, '{steps,0,unheard_of}', 'true'), now()
        FROM django_workflow_flowversion v JOIN django_workflow_run r ON r.version_id = v.id WHERE r.id = %s
        RETURNING id
    )
    UPDATE django_workflow_run SET version_id = written.id FROM written WHERE django_workflow_run.id = %s
"""


@pytest.mark.guard("unreadable_versions_are_left_out")
def test_a_version_that_an_old_release_cannot_read_takes_no_neighbours_with_it(single):
    newer, *others = single.start_many(range(3))
    db.execute(OF_A_NEWER_RELEASE, [newer.id, newer.id])
    assert {task.run_id for task in take()} == {run.id for run in others}
    assert task_of(newer).begun_at is None, "losing it must not be counted"


@pytest.mark.guard("an_attempt_begins_once")
def test_an_attempt_that_is_executed_twice_at_once_begins_once(single, session):
    single.start()
    (task,) = take()
    first, second = session(), session()
    first.begin()
    assert first.do(external.begin_once, task.fence)
    waiting = second.start(external.begin_once, task.fence)
    eventually(second.waits_for_a_lock, "the second begin")
    first.commit()
    assert not waiting.result(SECONDS)


@pytest.mark.guard("what_was_withdrawn_never_begins")
def test_what_is_withdrawn_from_an_engine_at_its_begin_does_not_begin(single, session):
    single.start()
    (task,) = take()
    withdrawing, beginning = session(), session()
    withdrawing.begin()
    assert withdrawing.do(external.withdraw, [task]) == {task.fence}
    waiting = beginning.start(external.begin_once, task.fence)
    eventually(beginning.waits_for_a_lock, "the begin")
    withdrawing.commit()
    assert not waiting.result(SECONDS)
