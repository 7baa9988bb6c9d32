"""A flow to act on, and the browser of somebody who may act."""

from __future__ import annotations

import pytest

from tests.web.actions.acting import EVIL, ONCE


@pytest.fixture
def flow(make_flow):
    """Three steps in a row; the middle one is a map of three, of which the items in `broken` fail."""
    flow = make_flow("acted_on", retry=ONCE)
    flow.broken = set()

    @flow.step
    def first(input):
        return [1, 2, 3]

    @flow.map(over="first")
    def each(item, index):
        if index in flow.broken:
            raise RuntimeError(EVIL)
        return item

    @flow.step
    def last(each):
        return sum(each)

    return flow


@pytest.fixture
def client(client_of, operator):
    return client_of(operator)
