"""Busy are the slots of a worker that execute a handler: not what is in hand."""

from __future__ import annotations

import pytest

from django_workflow.definition.registry import registry
from django_workflow.engine.tasks import claim
from django_workflow.models import Worker
from django_workflow.worker import registration
from django_workflow.worker.dispatching.dispatcher import Dispatcher
from django_workflow.worker.loops.heartbeats import Heartbeats
from django_workflow.worker.options import WorkerOptions


@pytest.fixture
def dispatcher(flow):
    """A worker that has three tasks in hand."""
    flow.step(name="only")(lambda: 1)
    flow.start_many([None] * 3)
    made = Dispatcher(WorkerOptions(concurrency=4))
    made.worker_id = registration.register(made.options)
    for task in claim.claim("default", 3, slots=3, lease=60.0, worker_id=made.worker_id):
        made.in_flight.add(task, registry.handler(task.step.handler))
    return made


def test_busy_are_the_slots_that_execute_a_handler(dispatcher):
    hand = dispatcher.in_flight
    one, two, _ = hand.jobs.values()
    assert (len(hand.jobs), hand.busy()) == (3, 0)
    one.begin()
    two.begin()
    assert hand.busy() == 2
    hand.end(one)
    assert (len(hand.jobs), hand.busy()) == (3, 1)
    hand.forget(two.task)
    assert hand.busy() == 1, "its attempt is over, but its handler goes on"


def test_a_heartbeat_tells_how_many_slots_are_busy(dispatcher):
    next(iter(dispatcher.in_flight.jobs.values())).begin()
    Heartbeats(dispatcher).beat()
    assert Worker.objects.get(pk=dispatcher.worker_id).running_count == 1
