"""A run has one retry at a time, which is made in the caller's transaction and waits while its flow is paused."""

from __future__ import annotations

import threading

from django.db import transaction

from django_workflow import db, pause_flow, resume_flow, testing
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.engine.retrying.retry import retry
from django_workflow.engine.verbs.pause import pause_with_flow
from django_workflow.models import Run
from tests.control.retrying.stories import finish, start


def now():
    return db.rows("SELECT clock_timestamp()")[0][0]


def test_an_unsettled_retry_is_returned_instead_of_another(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    new = old.retry()
    assert old.retry(mode="all") == new
    finish(new)
    assert old.retry() != new


def test_a_retry_that_was_made_since_the_question_is_its_answer(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    asked = RetryRequest(since=now())
    first = retry(old.id, asked)
    testing.run_until_idle()
    assert Run.objects.get(pk=first.id).status == "failed"
    assert first.is_new
    assert retry(old.id, asked) == (first.id, False)
    again = RetryRequest(since=now())
    assert retry(old.id, again).is_new


def test_a_retry_is_rolled_back_with_its_transaction(diamond, story, workflow_queues):
    story.broken = {"left"}
    old = start(diamond)
    with transaction.atomic():
        new = old.retry()
        transaction.set_rollback(True)
    assert not Run.objects.filter(pk=new.id).exists()
    assert testing.run_until_idle() == 0


def test_two_sessions_at_once_make_one_retry(diamond, story, workflow_queues):
    story.broken = {"left"}
    old = start(diamond)
    barrier = threading.Barrier(6)
    found = []

    def racing():
        barrier.wait(10)
        found.append(db.on_own_connection(old.retry))

    threads = [threading.Thread(target=racing) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 6
    assert len(set(found)) == 1
    assert Run.objects.filter(retry_of_id=old.id).count() == 1


def test_a_retry_in_a_paused_flow_waits_until_it_goes_on(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    story.broken = set()
    pause_flow(diamond.slug)
    new = old.retry()
    assert pause_with_flow() == 1  # as the keeper does
    assert testing.run_until_idle() == 0
    assert new.status == "paused"
    resume_flow(diamond.slug)
    assert finish(new).is_success
