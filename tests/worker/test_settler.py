"""A settle beside the dispatcher: meanwhile it claims, within its limits, and whatever becomes of the settle."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta

import pytest

from django_workflow import AlreadySettled, db
from django_workflow.models import Task
from django_workflow.worker.dispatching import settler
from django_workflow.worker.dispatching.intake import Intake
from tests.waiting import eventually


class Hold:
    """Holds the settles that are made beside a dispatcher."""

    def __init__(self) -> None:
        self.is_held = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, outcomes, **options):
        if threading.current_thread().name == "django_workflow-settler":
            self.is_held.set()
            self.may_go_on.wait(30)
        return SETTLE(outcomes, **options)


SETTLE = settler.settle


@pytest.fixture
def hold(monkeypatch):
    """Each settle is made beside the dispatcher, and waits until the test lets it go on."""
    made = Hold()
    monkeypatch.setattr(Intake, "has_claims", lambda self: True)
    monkeypatch.setattr(settler, "settle", made)
    yield made
    made.may_go_on.set()


@pytest.fixture
def counted(flow):
    """A flow whose only step counts who runs it at once."""
    flow.running = flow.most = flow.calls = 0
    lock = threading.Lock()

    @flow.step
    def only():
        with lock:
            flow.running += 1
            flow.calls += 1
            flow.most = max(flow.most, flow.running)
        threading.Event().wait(0.001)
        with lock:
            flow.running -= 1

    return flow


def test_handlers_begin_while_a_settle_is_in_flight(counted, work, hold):
    runs = counted.start_many(range(12))
    work(concurrency=2, prefetch=0)
    assert hold.is_held.wait(20)
    eventually(lambda: counted.calls > 2, "another handler")
    assert not any(run.status == "succeeded" for run in runs)
    hold.may_go_on.set()
    assert all(run.wait(20).is_success for run in runs)
    assert counted.most <= 2


def test_handlers_do_not_run_far_ahead_of_settles(counted, work, hold):
    counted.start_many(range(40))
    worker = work(concurrency=2, prefetch=4)
    assert hold.is_held.wait(20)
    eventually(lambda: worker.dispatcher.round is None and not worker.dispatcher.in_flight.running(), "a full hand")
    held = Task.objects.filter(status="running").count()
    assert counted.calls <= held <= 2 * (2 + 4)


def test_a_worker_that_is_told_to_end_ends_its_settle_first(counted, work, hold):
    runs = counted.start_many(range(12))
    worker = work(concurrency=2, prefetch=0)
    assert hold.is_held.wait(20)
    worker.dispatcher.stop()
    hold.may_go_on.set()
    worker.stop()
    states = {run.status for run in runs}
    assert "succeeded" in states
    assert not Task.objects.filter(status="running").exists()


def test_a_run_that_is_cancelled_meanwhile_loses_its_task_to_nobody(counted, work, hold):
    runs = counted.start_many(range(12))
    work(concurrency=2, prefetch=0)
    assert hold.is_held.wait(20)
    for run in runs:
        with suppress(AlreadySettled):
            run.cancel()
    hold.may_go_on.set()
    eventually(lambda: not Task.objects.filter(status="running").exists(), "all tasks over")
    assert {run.status for run in runs} <= {"succeeded", "cancelled"}


def test_what_may_kill_the_process_begins_once_the_others_are_settled(counted, work, hold):
    runs = counted.start_many(range(12))
    Task.objects.update(lost_count=2)
    worker = work(concurrency=2, prefetch=0)
    assert hold.is_held.wait(20)
    eventually(
        lambda: worker.dispatcher.round is None and worker.dispatcher.in_flight.suspects, "another one that waits"
    )
    assert counted.calls == 1
    hold.may_go_on.set()
    assert all(run.wait(20).is_success for run in runs)
    assert counted.most == 1


def test_the_same_outcomes_are_settled_again_where_the_session_is_cut(counted, work, monkeypatch, caplog):
    cuts = iter(range(1))

    def cut(outcomes, **options):
        if threading.current_thread().name == "django_workflow-settler" and next(cuts, None) is not None:
            with db.connection().cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (pid,) = cursor.fetchone()
            db.on_own_connection(lambda: db.rows("SELECT pg_terminate_backend(%s)", [pid]))
        return SETTLE(outcomes, **options)

    monkeypatch.setattr(Intake, "has_claims", lambda self: True)
    monkeypatch.setattr(settler, "settle", cut)
    runs = counted.start_many(range(12))
    work(concurrency=2, prefetch=0)
    assert all(run.wait(20).is_success for run in runs)
    assert counted.calls == 12
    assert next(cuts, None) is None


def test_heartbeats_stop_where_a_settle_stands_still(counted, work, hold, settings):
    settings.DJANGO_WORKFLOW = {"STALL_LIMIT": timedelta(seconds=1)}
    runs = counted.start_many(range(12))
    worker = work(concurrency=2, prefetch=0, lease=timedelta(seconds=1.5))
    assert hold.is_held.wait(20)
    eventually(lambda: worker.process.heartbeats._is_stalled(0.0), "heartbeats that notice", seconds=20)
    hold.may_go_on.set()
    eventually(lambda: not worker.process.heartbeats._is_stalled(0.0), "heartbeats that go on")
    assert all(run.wait(20).is_success for run in runs)
