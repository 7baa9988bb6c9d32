"""The flow whose steps share a story: a root, two branches, a join."""

from __future__ import annotations

import pytest

from tests.control.retrying.stories import ONCE, Story


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def diamond(make_flow, story):
    """A root, two branches, a join."""
    flow = make_flow("diamond", retry=ONCE)
    flow.step(name="root")(lambda: story.did("root", 1))
    flow.step(name="left")(lambda root: story.did("left", root + 10))
    flow.step(name="right")(lambda root: story.did("right", root + 20))
    flow.step(name="join")(lambda left, right: story.did("join", [left, right]))
    return flow
