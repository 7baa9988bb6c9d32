"""A database that is away is told once for all threads of a worker, and so is that it is back."""

from __future__ import annotations

import logging

from django.db import OperationalError

from django_workflow import db
from django_workflow.worker.outage import Outage
from tests.waiting import eventually

GONE = OperationalError("server closed the connection unexpectedly")


def told(caplog):
    return [record.getMessage() for record in caplog.records]


def test_an_outage_and_its_end_are_told_once_whatever_threads_and_rounds_meet_it(caplog):
    caplog.set_level(logging.INFO, "django_workflow.worker")
    outage = Outage()
    for _ in range(3):
        for who in ("dispatcher", "heartbeats", "listener"):
            assert outage.meet(who, GONE)
    assert told(caplog) == [f"the database cannot be reached, trying again: {GONE}"]
    outage.end("listener")
    outage.end("keeper")
    outage.end("dispatcher")
    assert len(caplog.records) == 1
    outage.end("heartbeats")
    outage.end("heartbeats")
    assert len(caplog.records) == 2
    assert told(caplog)[1].startswith("the database is back, after ")


def test_the_next_outage_is_told_again(caplog):
    outage = Outage()
    for _ in range(2):
        outage.meet("listener", GONE)
        outage.end("listener")
    assert len(caplog.records) == 4


def test_another_error_is_for_the_thread_that_met_it(caplog):
    assert not Outage().meet("listener", ValueError("a mistake"))
    assert told(caplog) == []


def test_who_finds_its_connection_broken_after_the_outage_is_over_tells_nothing(caplog):
    outage = Outage()
    for who in ("heartbeats", "listener"):
        outage.end(who)
    outage.meet("listener", GONE)
    outage.end("listener")
    assert outage.meet("heartbeats", GONE)
    outage.end("heartbeats")
    assert len(caplog.records) == 2
    outage.meet("heartbeats", GONE)
    outage.end("heartbeats")
    assert len(caplog.records) == 4


def test_a_worker_whose_sessions_are_ended_tells_it_once_and_that_it_goes_on(flow, work, caplog):
    flow.step(name="only")(lambda: 1)
    worker = work()
    flow.start().wait(20)
    db.rows(END_OTHERS)
    eventually(lambda: [line for line in told(caplog) if "the database is back" in line], "that it is back")
    assert flow.start().wait(20).is_success
    worker.stop()
    for words in ("the database cannot be reached", "the database is back"):
        assert len([line for line in told(caplog) if words in line]) == 1


#: As a restart of the server does.
END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
