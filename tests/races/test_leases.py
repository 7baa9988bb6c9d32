"""Heartbeats against whoever else holds a task's row or message."""

from __future__ import annotations

import pytest

from django_workflow import queue
from django_workflow.engine.due import lost_messages
from django_workflow.engine.tasks import leases
from django_workflow.models import Task
from tests.races.verbs import LEASE, QUEUE, expire_leases, lock_task, settle_losses, succeed, take, take_one, task_of


@pytest.fixture
def single(flow):
    """A flow of one step."""

    @flow.step
    def only():
        return 1

    return flow


@pytest.mark.guard("skipped_is_not_lost")
def test_a_heartbeat_that_finds_a_row_locked_does_not_take_it_for_lost(single, session):
    single.start_many(range(2))
    locked, free = take()
    holder, heart = session(), session()
    holder.begin()
    holder.do(lock_task, locked.id)
    pulse = heart.do(leases.heartbeat, [locked, free], LEASE)
    assert (pulse.held, pulse.skipped, pulse.ended) == ({free.id}, {locked.id}, {})
    holder.commit()
    assert heart.do(leases.heartbeat, [locked, free], LEASE).held == {locked.id, free.id}


@pytest.mark.guard("heartbeat_is_fenced")
def test_a_heartbeat_of_an_old_holder_does_not_extend_the_new_ones_lease(single, session):
    run = single.start()
    old = session().do(take_one)
    expire_leases()
    new = take_one()
    settle_losses([new])
    expire_leases()
    pulse = session().do(leases.heartbeat, [old], LEASE)
    assert pulse.ended == {old.id: "lost"}
    assert queue.depth(QUEUE)[0] == 1, "the message of the new holder is as it was"
    assert task_of(run).lease_id == new.lease_id


@pytest.mark.guard("heartbeat_follows_the_row")
def test_a_heartbeat_extends_the_message_that_the_keeper_sent_anew(single, session):
    single.start()
    task = take_one()
    queue.purge(QUEUE)
    session().do(lost_messages.reconcile)
    expire_leases()
    assert leases.heartbeat([task], LEASE).held == {task.id}
    assert session().do(take) == [], "the task of a living worker was taken"
    succeed(task)
    assert Task.objects.get().status == "succeeded"
