"""A verb on a run that another transaction holds."""

from __future__ import annotations

import pytest

from django_workflow import RunBusy
from django_workflow.engine.stored import locking
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
