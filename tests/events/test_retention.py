"""Old messages go with old runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import db, listen, send_with_notify
from django_workflow.engine.due import duty
from django_workflow.engine.removal import retention
from django_workflow.models import Message

DAY = timedelta(days=1)
AGE = "UPDATE django_workflow_message SET created_at = created_at - interval '2 days' WHERE id <= %s::bigint"


@pytest.fixture
def old_and_new():
    """Five messages of the day before yesterday, and one of today."""
    numbers = [send_with_notify("news", number) for number in range(6)]
    db.execute(AGE, [numbers[4]])


def left():
    return list(Message.objects.values_list("message", flat=True))


def test_pruning_deletes_messages_that_are_older_than_retention(old_and_new):
    assert retention.prune(DAY) == 0
    assert left() == [5]
    with listen("news", after=(0, 0), timeout=0) as listener:
        assert [item.message for item in listener] == [5]


def test_pruning_takes_the_oldest_messages_first_in_batches(old_and_new, monkeypatch):
    assert retention.prune_messages(DAY, dry_run=True) == 5
    assert retention.prune_messages(DAY, limit=2) == 2
    assert left() == [2, 3, 4, 5]
    monkeypatch.setattr(duty, "BATCH", 2)
    assert retention.prune_messages(DAY) == 3


def test_a_dry_run_deletes_no_message(old_and_new):
    retention.prune(DAY, dry_run=True)
    assert len(left()) == 6


def test_the_keeper_prunes_messages_without_any_run(old_and_new, settings):
    from django_workflow.worker.loops.keeper import Keeper

    settings.DJANGO_WORKFLOW = {"RETENTION": DAY}
    Keeper()._repair()
    assert left() == [5]
