"""A verb on a run, a flow or a queue that another transaction holds."""

from __future__ import annotations

import pytest
from django.db import transaction

from django_workflow import RunBusy, db, pause_flow, pause_queue, resume_flow, resume_queue
from django_workflow.engine.stored import locking
from django_workflow.models import Run
from tests.races.sessions import sessions


def test_a_verb_that_waits_in_vain_for_a_run_says_so_and_changes_nothing(
    flow, transactional_db, workflow_queues, monkeypatch
):
    monkeypatch.setattr(locking, "WAIT_MS", 50)
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    verbs = (handle.pause, handle.cancel, lambda: handle.skip_step("only"), lambda: handle.complete_step("only"))
    with sessions() as make:
        other = make()
        other.begin()
        other.do(locking.lock_unsettled, [handle.id])
        for verb in verbs:
            with pytest.raises(RunBusy, match="Another transaction has held the run"):
                verb()
        other.rollback()
    assert handle.status == "running"
    handle.cancel()
    assert handle.status == "cancelled"


@pytest.mark.parametrize(
    ("table", "what", "verb", "takes_flow"),
    [
        ("flowdefinition", "flow", pause_flow, True),
        ("flowdefinition", "flow", resume_flow, True),
        ("queue", "queue", pause_queue, False),
        ("queue", "queue", resume_queue, False),
    ],
)
def test_a_verb_that_waits_in_vain_for_a_flow_or_a_queue_says_so(
    flow, transactional_db, workflow_queues, monkeypatch, table, what, verb, takes_flow
):
    monkeypatch.setattr(locking, "WAIT_MS", 50)
    flow.step(name="only")(lambda: 1)
    flow.start()
    name = flow.slug if takes_flow else "default"
    with sessions() as make:
        other = make()
        other.begin()
        other.do(db.rows, f"SELECT 1 FROM django_workflow_{table} FOR NO KEY UPDATE")
        with transaction.atomic():
            with pytest.raises(RunBusy, match=f"Another transaction has held the {what} '{name}' for"):
                verb(name)
            assert Run.objects.count() == 1  # the caller's transaction goes on
        other.rollback()
    verb(name)
