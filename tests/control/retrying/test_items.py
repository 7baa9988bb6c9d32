"""A retry of a map executes the items that did not succeed, and what was tolerated stays or is tried again."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from django_workflow import Skip
from django_workflow.models import Attempt, Task
from tests.control.retrying.stories import ONCE, fails_on, finish, start
from tests.waiting import eventually


@pytest.fixture
def thousand(make_flow, story):
    """A map of 1,000 items, of which seven may fail, last; a step before and one after it."""
    flow = make_flow("thousand", retry=ONCE)
    flow.step(name="numbers")(lambda: story.did("numbers", list(range(1000))))
    flow.map(name="each", over="numbers", tolerate=6)(lambda item, index: story.did(("each", index), item * 2))
    flow.step(name="after")(lambda each: story.did("after", sum(each)))
    return flow


@pytest.mark.slow
def test_of_a_thousand_items_the_seven_that_failed_run_again(thousand, story, db, django_assert_max_num_queries):
    failed = range(993, 1000)
    fails_on(story, *failed)
    old = start(thousand)
    assert old.status == "failed"
    assert sum(story.told().values()) == 1001
    fails_on(story)
    with django_assert_max_num_queries(25):  # however many items it has
        new = old.retry()
    assert Task.objects.of_run(new.id).unsettled().count() == 7
    assert finish(new).output == {"after": 999_000}
    assert story.told() == {**{("each", index): 1 for index in failed}, "after": 1}
    assert Task.objects.of_run(new.id).filter(origin="carried").count() == 994


@pytest.mark.usefixtures("workflow_queues")
def test_of_a_thousand_items_the_seven_that_failed_run_again_in_a_worker(make_flow, work):
    effects, lock = Counter(), threading.Lock()
    flow = make_flow("thousand", retry=ONCE)
    broken = set(range(5, 1000, 150))
    assert len(broken) == 7

    @flow.map(count=1000, tolerate=6)
    def each(index, ctx):
        with lock:
            effects[index] += 1
        if index in broken:
            done = Task.objects.filter(run_id=ctx.run_id, status="succeeded")
            eventually(lambda: done.count() == 993)
            raise RuntimeError
        return index

    @flow.step
    def after(each):
        with lock:
            effects["after"] += 1
        return sum(each)

    old = flow.start()
    work(concurrency=16)
    assert old.wait(60).status == "failed"
    assert sum(effects.values()) == 1000
    effects.clear()
    again, broken = set(broken), set()
    assert old.retry().wait(60).output == {"after": sum(range(1000))}
    assert effects == {**dict.fromkeys(again, 1), "after": 1}


def test_items_that_were_cancelled_run_again_too(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(over="input", max_parallel=1, name="each")(lambda item, index: story.did(("each", index), item))
    fails_on(story, 2)
    old = start(flow, ["a", "b", "c", "d", "e"])
    assert list(story.told()) == [("each", 0), ("each", 1), ("each", 2)]
    fails_on(story)
    new = old.retry()
    assert list(Task.objects.of_run(new.id).unsettled().values_list("index", "status", "item", "hold_reason")) == [
        (2, "queued", "c", ""), (3, "held", "d", "parallel"), (4, "held", "e", "parallel"),
    ]  # fmt: skip
    assert finish(new)["each"] == ["a", "b", "c", "d", "e"]
    assert list(story.told()) == [("each", 2), ("each", 3), ("each", 4)]


def test_skipped_items_are_not_tried_again(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(count=3, name="each")(lambda index: story.did(("each", index), Skip() if index == 0 else index))
    fails_on(story, 2)
    old = start(flow)
    story.told()
    fails_on(story)
    assert finish(old.retry())["each"] == [None, 1, 2]
    assert story.told() == {("each", 2): 1}


def test_tolerated_failures_of_a_run_that_succeeded_are_tried_again(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(count=4, name="each", tolerate=2)(lambda index: story.did(("each", index), index))
    flow.step(name="optional", on_exhausted="skip")(lambda: story.did("optional", "there"))
    flow.step(name="after")(lambda each, optional="absent": story.did("after", [each, optional]))
    flow.step(name="apart")(lambda: story.did("apart"))
    story.broken = {("each", 1), "optional"}
    old = start(flow)
    assert old.result()["after"] == [[0, None, 2, 3], "absent"]
    story.told()
    story.broken = set()
    assert finish(old.retry())["after"] == [[0, 1, 2, 3], "there"]
    assert story.told() == {("each", 1): 1, "optional": 1, "after": 1}


def test_in_a_run_that_failed_what_was_tolerated_stays_and_is_told(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(count=3, name="each", tolerate=1)(lambda index: story.did(("each", index), index))

    @flow.step
    def after(each, ctx):
        return story.did("after", [each, ctx.failures("each")])

    story.broken = {("each", 1), "after"}
    old = start(flow)
    story.broken = set()
    story.told()
    failure = {"index": 1, "class": "RuntimeError", "message": "('each', 1) is broken"}
    assert finish(old.retry())["after"] == [[0, None, 2], [failure]]
    assert story.told() == {"after": 1}
    assert Attempt.objects.filter(task__step_run__step="each").count() == 2
