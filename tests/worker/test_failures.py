"""Failures in real workers: their records are folded, receivers are called in a thread of their own."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.core.cache import cache
from django.core.mail import mail_admins
from django.db import transaction

from django_workflow import Retry, db, run_ended, run_failed
from django_workflow.engine.reporting import failure_log
from django_workflow.engine.reporting.failure_log import StoredFailure
from django_workflow.models import Run
from tests.waiting import eventually
from tests.worker.site import workflows

ONCE = Retry(max_attempts=1)


@pytest.fixture
def records(caplog):
    """The records of what failed for good."""
    caplog.set_level(logging.ERROR, "django_workflow.failures")
    return lambda: [record for record in caplog.records if record.name == "django_workflow.failures"]


@pytest.fixture
def connected():
    """Connect receivers for this test."""
    kept = []

    def connect(signal, receiver):
        signal.connect(receiver)
        kept.append((signal, receiver))

    yield connect
    for signal, receiver in kept:
        signal.disconnect(receiver)


def test_a_thousand_failures_at_once_are_one_record_and_a_count(flow, drain, records, connected):
    flow.step(name="fails", retry=ONCE)(lambda input: 1 / (input - input))
    announced = []
    connected(run_failed, lambda sender, run, **kwargs: announced.append(run.pk))
    runs = flow.start_many(range(1000))
    drain()
    first, rest = records()
    assert first.exc_info[0] is ZeroDivisionError
    assert rest.getMessage() == f"999 more like this: {flow.slug}.fails failed for good: ZeroDivisionError"
    assert (rest.count, rest.flow, rest.step, rest.fingerprint) == (999, flow.slug, "fails", first.fingerprint)
    assert len(announced) <= 1000
    assert set(announced) == {handle.id for handle in runs}


def test_a_thousand_runs_that_fail_send_one_mail_by_a_receiver_that_folds(flow, drain, connected, settings):
    settings.ADMINS = [("Ada", "ada@example.com")]
    cache.clear()

    def mail_failure(sender, run, **kwargs):
        what = f"{run.flow.slug}:{run.error['step']}:{run.error['class']}"
        if cache.add(what, True, timeout=600):
            mail_admins(what, str(run.pk))

    connected(run_failed, mail_failure)
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    flow.start_many([None] * 1000)
    drain()
    assert len(mail.outbox) == 1


def test_one_run_that_fails_for_good_is_one_record_one_signal_one_call(make_flow, drain, records, connected):
    calls, announced = [], []
    flow = make_flow(on_failure=lambda sender, run, **kwargs: calls.append(run.pk))
    connected(run_failed, lambda sender, run, **kwargs: announced.append(run.pk))
    flow.step(name="fails", retry=Retry(max_attempts=2, base=timedelta(milliseconds=1)))(lambda: 1 / 0)
    handle = flow.start()
    drain()
    assert [record.levelname for record in records()] == ["ERROR"]
    assert announced == calls == [handle.id]


def test_receivers_see_what_was_committed_and_may_use_the_database(flow, drain, connected):
    seen = []

    def look(sender, run, **kwargs):
        with transaction.atomic():
            seen.append((Run.objects.get(pk=run.pk).status, threading.current_thread().name))

    connected(run_ended, look)
    flow.step(name="good")(lambda: 1)
    flow.start()
    drain()
    assert seen == [("succeeded", "django_workflow-announcer")]


def cut_session():
    """End this thread's session, as a failover does."""
    pid = db.rows("SELECT pg_backend_pid()")[0][0]
    db.on_own_connection(lambda: db.rows("SELECT pg_terminate_backend(%s::int, 5000)", [pid]))


def open_block():
    transaction.atomic().__enter__()
    db.rows("SELECT 1")


def commit_by_hand():
    transaction.set_autocommit(False)
    db.rows("SELECT 1")


@pytest.mark.parametrize("trouble", [cut_session, open_block, commit_by_hand])
@pytest.mark.parametrize("by", ["signal", "on_failure"])
def test_a_receiver_that_leaves_its_connection_broken_silences_no_other(make_flow, drain, connected, trouble, by):
    def breaks(sender, run, **kwargs):
        trouble()

    def notes(sender, run, **kwargs):
        Group.objects.create(name=str(run.pk))

    flow = make_flow(on_failure=[] if by == "signal" else [breaks, notes])
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    if by == "signal":
        connected(run_failed, breaks)
        connected(run_failed, notes)
    runs = flow.start_many(range(5))
    drain()
    assert set(Group.objects.values_list("name", flat=True)) == {str(handle.id) for handle in runs}


def test_a_receiver_that_hangs_keeps_no_task_waiting(flow, work, connected):
    hangs, may_go = threading.Event(), threading.Event()

    def hang(sender, run, **kwargs):
        hangs.set()
        may_go.wait(30)

    connected(run_failed, hang)
    flow.step(name="divides", retry=ONCE)(lambda input: 1 / input)
    flow.start(0)
    work()
    try:
        assert hangs.wait(30)
        assert flow.start(1).wait(30).is_success
    finally:
        may_go.set()


def test_a_worker_that_stops_tells_what_is_left(flow, work, connected):
    told = []
    connected(run_failed, lambda sender, run, **kwargs: told.append(run.pk))
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    handle = flow.start()
    worker = work()
    eventually(lambda: handle.status == "failed", "the run's end")
    worker.stop()
    assert told == [handle.id]


def test_a_run_that_the_keeper_ends_is_told_and_announced(make_flow, work, records, connected):
    announced = []
    connected(run_failed, lambda sender, run, **kwargs: announced.append((sender, run.status)))
    flow = make_flow(max_duration=timedelta(milliseconds=200), queue="unserved")
    flow.step(name="waits")(lambda: 1)
    handle = flow.start()
    work()
    eventually(lambda: announced, "the signal")
    assert announced == [(flow, "timed_out")]
    (record,) = records()
    assert record.getMessage().startswith(f"run {handle.id} of flow {flow.slug} timed out: the run took longer")


def test_an_atomic_steps_failure_is_told_once(flow, drain, records):
    flow.step(name="fails", atomic=True, retry=ONCE)(lambda: 1 / 0)
    flow.start()
    drain()
    (record,) = records()
    assert record.exc_info[0] is ZeroDivisionError


def test_a_lost_attempt_has_its_own_number(flow, drain, records, caplog, db):
    from django_workflow.engine.tasks import claim

    flow.step(name="only", retry=Retry(max_attempts=2, base=timedelta(milliseconds=1)))(lambda: 1)
    flow.start()
    (task,) = claim.claim("default", 1, slots=1, lease=1.0)  # by a worker that is not heard of again
    caplog.set_level(logging.WARNING, "django_workflow.failures")
    drain()
    (record,) = [record for record in caplog.records if record.name == "django_workflow.failures"]
    assert record.attempt == task.attempt == 1
    assert "lost (attempt 1 of 2, again at once; run " in record.getMessage()


def test_folding_ends_with_the_worker(flow, drain, records):
    flow.step(name="fails", retry=ONCE)(lambda: 1 / 0)
    flow.start()
    drain()
    flow.execute()
    flow.execute()
    assert len(records()) == 3
    assert not failure_log.folding._users


@pytest.mark.slow
def test_a_failure_in_a_child_process_has_its_traceback_as_text(site, drain, records):
    workflows.broken.start({"card": "4711"})
    drain()
    (record,) = records()
    assert "4711" not in record.getMessage()
    assert isinstance(record.exc_info[1], StoredFailure)
    text = str(record.exc_info[1])
    assert text.startswith("Traceback")
    assert "in breaks" in text
    assert "ValueError: card 4711" in text
