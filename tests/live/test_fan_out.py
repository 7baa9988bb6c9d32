"""The way between the hubs of several processes: what arrives there need not be of this release."""

from __future__ import annotations

import asyncio

import pytest
from channels.layers import InMemoryChannelLayer

from django_workflow.live.fan_out import GROUP, TYPE, FanOut
from django_workflow.live.inbox import RESYNC, Kind, Notice

RUN = "01990000-0000-7000-8000-000000000001"
GOOD = {"type": TYPE, "sender": "one", "number": 1, "kind": "changed", "runs": [RUN], "queues": False}
ODD = [
    {"type": TYPE},
    GOOD | {"kind": "unheard of"},
    GOOD | {"number": "first"},
    GOOD | {"runs": 5},
    GOOD | {"runs": [{}, []]},
    GOOD | {"number": None},
]


@pytest.mark.asyncio
@pytest.mark.parametrize("odd", ODD)
async def test_a_message_that_cannot_be_read_lets_pages_load_anew_and_receiving_goes_on(odd, caplog):
    layer, delivered = InMemoryChannelLayer(), asyncio.Queue()
    running = asyncio.create_task(FanOut(layer, delivered.put_nowait).run())
    try:
        assert await asyncio.wait_for(delivered.get(), 5) == RESYNC
        await layer.group_send(GROUP, odd)
        await layer.group_send(GROUP, GOOD)
        heard = [await asyncio.wait_for(delivered.get(), 5) for _ in range(2)]
    finally:
        running.cancel()
    assert heard[1].kind is not Kind.STALE
    assert heard in ([RESYNC, Notice(Kind.CHANGED, frozenset({RUN}))], [Notice(Kind.CHANGED), RESYNC])
    assert "delivers no messages" not in caplog.text
