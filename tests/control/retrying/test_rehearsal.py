"""A rehearsal tells what a retry would do or refuse, and writes nothing."""

from __future__ import annotations

import uuid

import pytest

from django_workflow import NotSupported, RunNotFound, retry
from django_workflow.engine.retrying.rehearsal import rehearse
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.models import Event, FlowVersion, Run, StepRun, Task
from tests.control.retrying.stories import start


def test_a_rehearsal_writes_nothing_and_tells_what_a_retry_would_refuse(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond, {"n": 1})
    before = (Run.objects.count(), StepRun.objects.count(), Task.objects.count(), Event.objects.count())
    told = {step.step: (step.fate, step.carried, step.executed) for step in rehearse(old.id, RetryRequest()).steps}
    assert told == {
        "root": ("carried", 1, 0), "left": ("carried", 1, 0), "right": ("executed", 0, 1), "join": ("executed", 0, 1),
    }  # fmt: skip
    for asked in (RetryRequest(from_step="nowhere"), RetryRequest(version=99)):
        with pytest.raises(NotSupported) as caught:
            retry(old, from_step=asked.from_step, version=asked.version)
        assert rehearse(old.id, asked).refusal.message == caught.value.message
    assert before == (Run.objects.count(), StepRun.objects.count(), Task.objects.count(), Event.objects.count())
    new = old.retry()
    assert rehearse(old.id, RetryRequest()).existing == new.id
    assert "only a settled run can be retried" in rehearse(new.id, RetryRequest()).refusal.message
    with pytest.raises(RunNotFound):
        rehearse(uuid.uuid4(), RetryRequest())


def test_a_rehearsal_of_the_latest_version_does_not_store_it(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    diamond.step(name="more")(lambda join: join)
    versions = FlowVersion.objects.filter(flow__slug=diamond.slug)
    rehearsal = rehearse(old.id, RetryRequest(version="latest"))
    assert (rehearsal.version, rehearsal.steps[-1].step, versions.count()) == (2, "more", 1)
    old.retry(version="latest")
    assert versions.count() == 2
