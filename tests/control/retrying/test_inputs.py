"""A retry with another input is refused where carried results depend on the input as it was."""

from __future__ import annotations

import pytest

from django_workflow import NotSupported, PayloadError
from django_workflow.models import Run
from tests.control.retrying.stories import ONCE, finish, start


def test_another_input_reaches_the_steps_that_run(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="apart")(lambda: story.did("apart", 7))
    flow.step(name="reads")(lambda apart, input: story.did("reads", [apart, input["n"]]))
    story.broken = {"reads"}
    old = start(flow, {"n": 1})
    story.broken = set()
    story.told()
    assert finish(old.retry(input={"n": 2})).output == {"reads": [7, 2]}
    assert story.told() == {"reads": 1}
    assert finish(old.retry(input=None, mode="all")).status == "failed"


def test_another_input_is_refused_where_carried_steps_depend_on_it(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="reads")(lambda input: input)
    flow.map(name="items", over="input.list")(lambda item: story.did(("items", item), item))
    flow.step(name="asked", when="input.n == 1")(lambda: 1)
    flow.map(name="part", over="input.list")(lambda item: story.did(("part", item), item))
    story.broken = {("part", 2)}
    old = start(flow, {"list": [1, 2], "n": 1})
    story.broken = set()
    with pytest.raises(NotSupported) as caught:
        old.retry(input={"list": [3], "n": 2})
    assert caught.value.problems == [
        "step 'reads' has run with the input as it was",
        "map step 'items' took its items from the input as it was",
        "the condition of step 'asked' was decided with the input as it was",
        "map step 'part' took its items from the input as it was",
    ]
    assert "with mode='all'" in str(caught.value)
    assert caught.value.remedy == "earlier_step"
    assert Run.objects.count() == 1
    # the same value in other words is no other input
    assert finish(old.retry(input={"n": 1, "list": [1, 2]})).is_success
    assert finish(old.retry("all", input={"list": [3], "n": 2}))["items"] == [3]


def test_an_input_that_cannot_be_stored_is_refused(diamond, db):
    old = start(diamond)
    with pytest.raises(PayloadError):
        old.retry("all", input=object())
    assert Run.objects.count() == 1
