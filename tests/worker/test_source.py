"""Where a worker goes on reading a queue: behind what it read, and from the front as often as that is cheap."""

from __future__ import annotations

from math import inf

import pytest
from django.utils import timezone

from django_workflow import queue
from django_workflow.conf import conf
from django_workflow.models import Task
from django_workflow.worker.dispatching.queue_reader import FRONT_SHARE, QueueReader


class Clock:
    """A clock that a read moves on."""

    def __init__(self):
        self.now = 100.0
        self.read_takes = 0.01

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Time as `source` sees it, in which each read takes `read_takes` seconds."""
    clock, read = Clock(), queue.read

    def slow_read(*args, **kwargs):
        clock.now += clock.read_takes
        return read(*args, **kwargs)

    monkeypatch.setattr("django_workflow.worker.dispatching.queue_reader.time", clock)
    monkeypatch.setattr(queue, "read", slow_read)
    return clock


@pytest.fixture
def source(flow, db):
    flow.step(name="only")(lambda: None)
    return QueueReader("default")


def claim(source, limit=10):
    return source.claim(limit, slots=limit, lease=60.0, worker_id=None)


def test_a_full_claim_means_that_there_may_be_more(flow, source, clock):
    flow.start_many([None] * 3)
    assert len(claim(source, 2)) == 2
    assert source.due_at() == 0.0
    assert len(claim(source, 2)) == 1
    assert source.due_at() > 0.0


def test_an_empty_queue_read_from_the_front_is_due_when_somebody_tells(source, clock):
    assert claim(source) == []
    assert source.due_at() == inf
    source.may_hold_more = True
    assert source.due_at() == 0.0


def test_what_comes_back_in_front_is_read_when_the_front_is_due(flow, source, clock):
    flow.start_many([None] * 3)
    returned = claim(source, 2)[0]
    queue.hide("default", [returned.message_id], [0.0])
    read_at = clock.now
    assert [task.id != returned.id for task in claim(source)] == [True], "reading goes on behind"
    assert source.due_at() == pytest.approx(read_at + clock.read_takes / FRONT_SHARE), "something was passed by"
    clock.now = source.due_at()
    assert [task.id for task in claim(source)] == [returned.id]
    assert source.due_at() == inf


def test_a_read_that_was_held_up_keeps_nobody_from_the_front_for_longer_than_a_poll(flow, source, clock):
    clock.read_takes = 60.0
    flow.start_many([None] * 3)
    returned = claim(source, 2)[0]
    queue.hide("default", [returned.message_id], [0.0])
    clock.read_takes = 0.0
    claim(source)
    assert source.due_at() == clock.now + conf.POLL_INTERVAL.total_seconds()


def test_a_front_that_is_quick_to_read_is_read_each_time(flow, source, clock):
    clock.read_takes = 0.0
    flow.start_many([None] * 3)
    returned = claim(source, 2)[0]
    queue.hide("default", [returned.message_id], [0.0])
    assert returned.id in {task.id for task in claim(source)}


def test_messages_that_no_claim_can_use_hide_none_behind_them(flow, source, clock):
    dead = flow.start_many([None] * 5)
    flow.start()
    # ended past the queue: their messages stay
    Task.objects.filter(run__in=[handle.id for handle in dead]).update(status="cancelled", ended_at=timezone.now())
    rounds = 0
    while not (tasks := claim(source, 1)):
        assert source.due_at() == 0.0, "it does not wait for a poll"
        rounds += 1
    assert (len(tasks), rounds) == (1, 5)
    assert claim(source, 1) == []
    assert source.due_at() > 0.0
