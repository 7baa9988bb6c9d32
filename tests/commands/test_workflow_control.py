"""Verbs from the shell: who did it and why is stored, and what is refused is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_workflow import testing
from django_workflow.management.workflow import arguments
from django_workflow.models import Event, Run
from django_workflow.statuses import RUNNING
from tests.commands.shell import workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda input: input)
    return flow


def last_event(run):
    return Event.objects.filter(run_id=run.id).order_by("-number").first()


def test_cancel_ends_runs_and_stores_who_and_why(simple):
    first, second = simple.start(), simple.start(delay=timedelta(hours=1))
    answer = workflow("cancel", first.id, str(second.id)[-8:], "--reason", "wrong input")
    assert answer.code == 0
    assert answer.out.splitlines() == [f"Run {run.id} of {simple.slug} is cancelled." for run in (first, second)]
    assert last_event(second).data == {"reason": "wrong input", "by": arguments.login_name()}
    workflow("cancel", first.id, "--by", "ada")
    assert last_event(first).data["reason"] == "wrong input"


def test_cancel_of_one_that_ended_is_refused_and_the_others_are_cancelled(simple):
    done = simple.start()
    testing.run_until_idle()
    waiting = simple.start()
    answer = workflow("cancel", done.id, waiting.id, "--json")
    assert answer.code == 1
    assert "has already ended succeeded" in answer.err
    assert [(item["status"], item["refused"] is None) for item in answer.json] == [
        ("succeeded", False), ("cancelled", True),
    ]  # fmt: skip


def test_wrong_name_lets_nothing_be_done(simple):
    handle = simple.start()
    with pytest.raises(CommandError, match="There is no run 'abcdef'"):
        workflow("cancel", handle.id, "abcdef")
    assert Run.objects.get().status == RUNNING


def test_nobody_logged_in_is_no_error(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert arguments.login_name() == ""
