"""A retry in another version runs where what is carried over fits it."""

from __future__ import annotations

import pytest

from django_workflow import Flow, NotSupported
from tests.control.retrying.stories import ONCE, fails_on, finish, start


def versions(make_flow, story, first, second):
    """Start a run of one version that fails, and declare another one."""
    slug = make_flow("versioned").slug
    flow = Flow(slug, retry=ONCE)
    first(flow)
    old = start(flow)
    assert old.status == "failed"
    story.broken = set()
    story.told()
    second(Flow(slug, retry=ONCE))
    return old


def test_a_newer_version_runs_what_follows_from_what_was_carried(make_flow, story, db):
    def first(flow):
        flow.step(name="a")(lambda: story.did("a", 1))
        flow.step(name="b")(lambda a: story.did("b"))

    def second(flow):
        flow.step(name="a")(lambda: story.did("a", 100))
        flow.step(name="b")(lambda a: story.did("repaired", a + 1))
        flow.step(name="c")(lambda b: story.did("c", b + 1))
        flow.step(name="entry")(lambda: story.did("entry"))

    story.broken = {"b"}
    old = versions(make_flow, story, first, second)
    new = old.retry(version="latest")
    assert finish(new).output == {"c": 3, "entry": None}
    assert story.told() == {"repaired": 1, "c": 1, "entry": 1}
    assert (old.run.version.number, new.run.version.number) == (1, 2)
    assert old.retry(version=1).run.version_id == old.run.version_id


def test_a_version_that_does_not_fit_is_refused_with_all_reasons(make_flow, story, db):
    def first(flow):
        flow.step(name="gone")(lambda: 1)
        flow.step(name="single")(lambda: [1])
        flow.step(name="moved")(lambda single: 2)
        flow.map(name="each", over="single")(lambda item: item)
        flow.step(name="bad")(lambda moved, each: story.did("bad"))

    def second(flow):
        flow.map(name="single", count=2)(lambda index: 1)
        flow.step(name="extra")(lambda: 1)
        flow.step(name="moved")(lambda single, extra: 2)
        flow.map(name="each", over="single")(lambda item: item)
        flow.step(name="bad")(lambda moved, each: story.did("bad", "done"))

    story.broken = {"bad"}
    old = versions(make_flow, story, first, second)
    with pytest.raises(NotSupported, match="in version 2") as caught:
        old.retry(version="latest")
    assert caught.value.problems == [
        "step 'gone' is not in that version",
        "step 'single' was a single step and is a map step in that version",
        "step 'moved' depends on 'extra', 'single' in that version, and it ran after 'single'",
    ]
    with pytest.raises(NotSupported, match="has no version 9; its newest is 2"):
        old.retry(version=9)
    assert finish(old.retry("all", version=2))["bad"] == "done"


def test_a_map_with_other_items_in_a_newer_version_is_not_redone_in_part(make_flow, story, db):
    def first(flow):
        flow.map(name="each", count=3)(lambda index: story.did(("each", index)))

    def second(flow):
        flow.map(name="each", count=2)(lambda index: story.did(("each", index)))

    fails_on(story, 2)
    old = versions(make_flow, story, first, second)
    with pytest.raises(NotSupported, match="map step 'each' has other items"):
        old.retry(version="latest")
    assert finish(old.retry(version="latest", from_step="each"))["each"] == [None, None]
