"""What becomes of a task that has not ended: queued, held, suspended or taken. No database is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow.engine.tasks.admission import admission, waits_in_message


def never():
    raise AssertionError("the worker was asked")


def test_a_task_is_queued_unless_something_holds_it():
    assert admission("running") == ("queued", "")
    assert admission("running", take=lambda: False) == ("queued", "")


def test_the_worker_that_asks_takes_a_task_that_could_be_queued():
    assert admission("running", take=lambda: True) == ("running", "")


@pytest.mark.parametrize(("index", "expected"), [(0, "queued"), (1, "queued"), (2, "held"), (3, "held")])
def test_items_above_max_parallel_are_held(index, expected):
    status, reason = admission("running", index=index, max_parallel=2)
    assert (status, reason) == (expected, "parallel" if expected == "held" else "")


def test_a_paused_run_holds_its_tasks():
    assert admission("paused", take=never) == ("held", "paused")


def test_items_above_max_parallel_wait_for_their_place_in_a_paused_run_as_well():
    assert admission("paused", index=1, max_parallel=1, take=never) == ("held", "parallel")


@pytest.mark.parametrize("run_status", ["running", "paused"])
def test_a_task_that_no_worker_executes_is_suspended(run_status):
    assert admission(run_status, has_handler=False, take=never) == ("suspended", "")


def test_a_place_under_max_parallel_is_waited_for_before_anything_else():
    assert admission("running", index=1, max_parallel=1, has_handler=False) == ("held", "parallel")


def test_a_delay_up_to_a_lease_waits_in_the_message_and_a_longer_one_in_the_row(settings):
    settings.DJANGO_WORKFLOW = {"LEASE": timedelta(seconds=10)}
    assert [waits_in_message(delay) for delay in (0.0, 10.0, 10.1)] == [True, True, False]


def test_a_task_of_a_local_run_has_no_message():
    assert not waits_in_message(0.0, is_local=True)
