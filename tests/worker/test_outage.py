"""A database that is away is told once for all threads of a worker, and so is that it is back."""

from __future__ import annotations

import logging

from django.db import OperationalError

from django_workflow.definition.registry import registry
from django_workflow.engine import claim
from django_workflow.worker.hand import Hand
from django_workflow.worker.outage import Outage

GONE = OperationalError("server closed the connection unexpectedly")


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def test_an_outage_and_its_end_are_told_once_whatever_threads_and_rounds_meet_it(caplog):
    caplog.set_level(logging.INFO, "django_workflow.worker")
    outage = Outage()
    for _ in range(3):
        for who in ("dispatcher", "heart", "ear"):
            assert outage.meet(who, GONE)
    assert told(caplog) == [f"the database cannot be reached, trying again: {GONE}"]
    outage.end("ear")
    outage.end("keeper")
    outage.end("dispatcher")
    assert len(caplog.records) == 1
    outage.end("heart")
    outage.end("heart")
    assert len(caplog.records) == 2
    assert told(caplog)[1].startswith("the database is back, after ")


def test_the_next_outage_is_told_again(caplog):
    outage = Outage()
    for _ in range(2):
        outage.meet("ear", GONE)
        outage.end("ear")
    assert len(caplog.records) == 4


def test_another_error_is_for_the_thread_that_met_it(caplog):
    assert not Outage().meet("ear", ValueError("a mistake"))
    assert told(caplog) == []


def test_busy_are_the_slots_that_execute_and_not_what_is_in_hand(flow):
    flow.step(name="only")(lambda: 1)
    flow.start_many([None] * 3)
    hand = Hand(4)
    jobs = [
        hand.add(task, registry.handler(task.step.handler)) for task in claim.claim("default", 3, slots=3, lease=60.0)
    ]
    assert (len(hand.jobs), hand.busy()) == (3, 0)
    for job in jobs[:2]:
        job.begin()
    assert hand.busy() == 2
    hand.end(jobs[0])
    assert (len(hand.jobs), hand.busy()) == (3, 1)
    hand.forget(jobs[1].task)
    assert hand.busy() == 1, "its attempt is over, but its handler goes on"
