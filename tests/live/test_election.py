"""One of many processes listens for all of them, for a term: one that hangs does not keep the others from hearing."""

from __future__ import annotations

import threading

import pytest

from django_workflow import db
from django_workflow.live.inbox import RESYNC
from django_workflow.live.listener import Listener
from tests.waiting import eventually

RUNS = [f"01990000-0000-7000-8000-{number:012x}" for number in range(3)]
TERM_IS_OVER = "UPDATE django_workflow_leader SET until = clock_timestamp() - interval '1 second' WHERE name = 'live'"


class Process:
    """What listens in one process, and what it told; it hangs where it is told of the first run."""

    def __init__(self):
        self.told = []
        self.hangs, self.goes_on = threading.Event(), threading.Event()
        self.listener = Listener(self.hear, is_elected=True)
        self.listener.start()

    def hear(self, told, is_for_all):
        self.told.append(told)
        if RUNS[0] in told.runs:
            self.hangs.set()
            self.goes_on.wait(30)

    def heard(self, run):
        return any(run in told.runs for told in self.told)


@pytest.fixture
def start(transactional_db):
    started = []

    def begin():
        started.append(Process())
        return started[-1]

    yield begin
    for process in started:
        process.goes_on.set()
        process.listener.stop()


def tell(run):
    db.notify([(db.RUN_CHANNEL, run)])


def test_another_process_listens_when_the_elected_one_hangs(start):
    one = start()
    eventually(lambda: RESYNC in one.told, "the first is elected")
    two = start()
    tell(RUNS[0])
    assert one.hangs.wait(30)
    assert not two.heard(RUNS[0])
    db.execute(TERM_IS_OVER)
    eventually(lambda: RESYNC in two.told, "the second is elected")
    tell(RUNS[1])
    eventually(lambda: two.heard(RUNS[1]), "the second hears")
    # the first goes on, as after SIGCONT, and finds that its term is over; what it heard until then it may still tell
    one.listener._leadership._renew_at = 0.0
    one.goes_on.set()
    eventually(lambda: not one.listener._leadership.is_held, "the first knows")
    tell(RUNS[2])
    eventually(lambda: two.heard(RUNS[2]), "the second hears alone")
    assert not one.heard(RUNS[2])


def test_another_process_listens_as_soon_as_the_elected_one_ends(start):
    one = start()
    eventually(lambda: RESYNC in one.told, "the first is elected")
    two = start()
    one.listener.stop()
    eventually(lambda: RESYNC in two.told, "the second is elected", seconds=4)
