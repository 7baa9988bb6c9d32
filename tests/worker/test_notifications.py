"""Any role may notify on the worker's channels: what it says there disturbs nothing."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest

from django_workflow import db, queue
from django_workflow.notifications import CONTROL_CHANNEL
from django_workflow.worker.loops.listener import Listener
from tests.waiting import eventually

#: A heartbeat would tell of a cancel as well: here it comes too late.
LONG = timedelta(minutes=5)
ODD = [
    *("-", "not-a-run", "", "a" * 7_999, "\U0001f40c-", "00000000-0000-0000-0000-00000000000g", "{}", "default -"),
    *("run:", "run:default", "queue:", "queue:nowhere", "queue:-", "job:default"),
]
LISTENING = """
    SELECT pid FROM pg_stat_activity
    WHERE query LIKE 'LISTEN%%' AND datname = current_database() AND backend_type = 'client backend'
"""


@pytest.mark.parametrize(
    ("payload", "heard"),
    [
        ("run:0190a3c5-0000-7000-8000-000000000001", UUID("0190a3c5-0000-7000-8000-000000000001")),
        ("queue:0190a3c5-0000-7000-8000-000000000001", "0190a3c5-0000-7000-8000-000000000001"),
        ("queue:slow:lane", "slow:lane"),
        ("0190a3c5-0000-7000-8000-000000000001", None),
        ("slow:lane", None),
    ],
)
def test_a_notification_says_whether_it_is_about_a_run_or_a_queue_whatever_its_name_looks_like(payload, heard):
    told = []
    queues = ("0190a3c5-0000-7000-8000-000000000001", "slow:lane")
    options = SimpleNamespace(queues=queues)
    dispatcher = SimpleNamespace(options=options, outage=None, hear_control=told.append)
    Listener(dispatcher)._pass_on([(CONTROL_CHANNEL, payload)])
    assert told == ([] if heard is None else [heard])


@pytest.mark.parametrize("channel", [queue.CHANNEL, CONTROL_CHANNEL])
def test_an_odd_payload_does_not_make_a_worker_connect_anew(work, flow, channel, caplog):
    begun, ended = threading.Event(), threading.Event()

    @flow.step
    def patient():
        begun.set()
        try:
            while True:
                pass
        except BaseException:
            ended.set()
            raise

    work(lease=LONG)
    (before,) = eventually(lambda: db.rows(LISTENING), "a worker that listens")
    run = flow.start()
    assert begun.wait(10)
    db.notify([(channel, payload) for payload in ODD])
    # told behind them on the same connection
    run.cancel("enough")
    assert ended.wait(10)
    assert db.rows(LISTENING) == [before]
    assert "the listener failed" not in caplog.text
