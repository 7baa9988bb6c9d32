"""A retry that cannot be made is refused with the reason."""

from __future__ import annotations

import uuid

import pytest

from django_workflow import (
    Fail,
    FlowBuilder,
    NotSupported,
    RunNotFound,
    UnregisteredHandler,
    condition,
    execute_dynamic,
    retry,
)
from django_workflow.definition.registry import registry
from tests.control.retrying.stories import ONCE, start


def test_an_unsettled_run_is_not_retried(diamond, db):
    with pytest.raises(NotSupported, match="is running; only a settled run can be retried"):
        diamond.start().retry()


def test_a_run_in_which_nothing_failed_asks_for_a_step(diamond, db):
    with pytest.raises(NotSupported, match=r"Nothing failed .* Say from_step=") as caught:
        start(diamond).retry()
    assert caught.value.remedy == "from_step"


def test_an_unknown_run_or_step_or_mode_is_told(diamond, db):
    with pytest.raises(RunNotFound):
        retry(uuid.uuid4())
    old = start(diamond)
    with pytest.raises(NotSupported, match="no step 'nowhere' to begin from, only root, left, right, join"):
        old.retry(from_step="nowhere")
    for wrong in ({"mode": "some"}, {"mode": "all", "from_step": "left"}, {"version": "newest"}):
        with pytest.raises(ValueError, match=r"mode|from_step|version"):
            old.retry(**wrong)


def test_a_process_without_the_code_of_a_condition_refuses(flow, story, db, monkeypatch):
    @condition("is_ready")
    def is_ready(outputs):
        return True

    flow.defaults["retry"] = ONCE
    flow.step(name="bad")(lambda: story.did("bad"))
    flow.step(name="asks", depends_on=["bad"], when=is_ready)(lambda: 1)
    story.broken = {"bad"}
    old = start(flow)
    name = flow.spec.steps["asks"].when.callable
    monkeypatch.delitem(registry._callables, name)
    with pytest.raises(UnregisteredHandler, match=name):
        old.retry()


def test_a_run_of_functions_of_its_own_cannot_be_retried_by_workers(unique, story, db):
    slug = unique("own")
    FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(slug, "bad")
    result = execute_dynamic(slug, None, {"bad": lambda: Fail("no")})
    assert result.status == "failed"
    with pytest.raises(UnregisteredHandler, match="this process has no code for"):
        retry(result.run_id)
