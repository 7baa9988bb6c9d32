"""Any role may notify on the worker's channels: what it says there disturbs nothing."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from django_workflow import db, queue
from django_workflow.notifications import CONTROL_CHANNEL
from tests.waiting import eventually

#: A heartbeat would tell of a cancel as well: here it comes too late.
LONG = timedelta(minutes=5)
ODD = ["-", "not-a-run", "", "a" * 7_999, "\U0001f40c-", "00000000-0000-0000-0000-00000000000g", "{}", "default -"]
LISTENING = """
    SELECT pid FROM pg_stat_activity
    WHERE query LIKE 'LISTEN%%' AND datname = current_database() AND backend_type = 'client backend'
"""


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
    assert "listening failed" not in caplog.text
