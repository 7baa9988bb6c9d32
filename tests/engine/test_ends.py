"""Every way in which a run ends leads through one hook, once."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from django_workflow import Fail, db, testing
from django_workflow.engine.due import deadlines, lost_local_runs
from django_workflow.engine.settling import isolation
from django_workflow.engine.verbs.start import StartRequest, start
from django_workflow.engine.writing import runs
from django_workflow.models import Run

HOUR = timedelta(hours=1)


@pytest.fixture
def seen(monkeypatch):
    """What the hook was called with."""
    ended, after_end = [], runs.after_end

    def note(ends, events, telling):
        ended.extend((end.run.id, end.status) for end in ends)
        return after_end(ends, events, telling)

    monkeypatch.setattr(runs, "after_end", note)
    return ended


def by_itself(flow):
    run_id = flow.start().id
    testing.run_until_idle()
    return run_id


def at_its_start(flow):
    flow.step(name="never", when="input == 1")(lambda: 1)
    return flow.start(2).id


def by_a_failure(flow):
    flow.step(name="bad")(lambda: Fail("no"))
    return by_itself(flow)


def by_an_operator(flow):
    handle = flow.start()
    handle.cancel()
    handle.cancel()
    return handle.id


def past_its_deadline(flow):
    handle = flow.start()
    Run.objects.update(deadline_at="2020-01-01T00:00Z")
    assert deadlines.end_overdue_runs() == 1
    return handle.id


def past_its_deadline_before_it_began(flow):
    handle = flow.start(delay=HOUR)
    Run.objects.update(deadline_at="2020-01-01T00:00Z")
    assert deadlines.end_overdue_runs() == 1
    return handle.id


def past_the_timeout_of_execute(flow):
    flow.step(name="slow")(lambda: time.sleep(5))
    return flow.execute(timeout=timedelta(milliseconds=50)).run_id


def without_its_process(flow):
    [run_id] = start(flow.spec, [StartRequest(is_local=True)])
    assert lost_local_runs.end_lost_local_runs() == 1
    return run_id


def by_what_cannot_be_written(flow):
    handle = flow.start()
    isolation.fail_run(handle.id, ValueError("refused"))
    isolation.fail_run(handle.id, ValueError("again"))
    return handle.id


def by_what_cannot_be_written_before_it_began(flow):
    handle = flow.start(delay=HOUR)
    isolation.fail_run(handle.id, ValueError("refused"))
    return handle.id


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (by_itself, "succeeded"),
        (at_its_start, "succeeded"),
        (by_a_failure, "failed"),
        (by_an_operator, "cancelled"),
        (past_its_deadline, "timed_out"),
        (past_its_deadline_before_it_began, "timed_out"),
        (past_the_timeout_of_execute, "timed_out"),
        (without_its_process, "failed"),
        (by_what_cannot_be_written, "failed"),
        (by_what_cannot_be_written_before_it_began, "failed"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_a_run_that_ends_comes_through_the_hook_once(flow, workflow_queues, seen, end, status):
    if end is not at_its_start:
        flow.step(name="step")(lambda: 1)
    run_id = end(flow)
    assert seen == [(run_id, status)]
    assert db.rows("SELECT status FROM django_workflow_run WHERE id = %s", [run_id]) == [(status,)]
    testing.assert_settled(run_id, status)
