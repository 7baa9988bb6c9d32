"""What the elected hub sends to the hubs of all processes, through Channels' layer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from channels.layers import BaseChannelLayer

from django_workflow import db
from django_workflow.live.inbox import RESYNC, STALE, WINDOW, Inbox, Kind, Notice

logger = logging.getLogger("django_workflow.live")

#: The group of the hubs of all processes.
GROUP = "django_workflow.live"
TYPE = "django_workflow.live"
#: Ids of one message; beyond it every page asks for everything anew.
LIMIT = 2_000
#: Seconds after which a hub joins the group again: layers forget members after a day.
REJOIN = 600.0
#: Seconds until the next try when the layer fails: they double up to the second number.
RETRIES = (0.05, 5.0)


class FanOut:
    """Sends what this process heard to the hubs of all, its own as well, and receives what they heard.

    deliver: called with what arrives.
    """

    def __init__(self, layer: BaseChannelLayer, deliver: Callable[[Notice], None]) -> None:
        self._layer = layer
        self._deliver = deliver
        self._outbox = Inbox(LIMIT, widest_window=WINDOW)
        self._name = uuid4().hex
        self._sent = 0
        self._received: dict[str, int] = {}
        self._joined_at = 0.0

    def send(self, notice: Notice) -> None:
        """Send something soon, folded with what is sent then."""
        if notice.kind is not Kind.CHANGED or notice.runs or notice.is_in_queues:
            self._outbox.put(notice)

    async def run(self) -> None:
        """Send and receive until this is cancelled."""
        channel: str = await self._layer.new_channel()
        sending = asyncio.create_task(self._keep_sending())
        try:
            await self._keep_receiving(channel)
        finally:
            sending.cancel()
            with contextlib.suppress(Exception):  # who does not leave is forgotten some time
                await asyncio.wait_for(self._layer.group_discard(GROUP, channel), 1.0)

    async def _keep_sending(self) -> None:
        retry = RETRIES[0]
        while True:
            notice = await self._outbox.take()
            self._sent += 1
            try:
                await self._layer.group_send(GROUP, self._message(notice))
                if retry != RETRIES[0]:
                    logger.warning("the channel layer takes messages again")
                retry = RETRIES[0]
            except Exception as error:  # each layer has errors of its own
                if retry == RETRIES[0]:
                    logger.warning("the channel layer takes no messages, trying again: %s", error)
                self._outbox.put(RESYNC)
                await asyncio.sleep(retry)
                retry = min(RETRIES[1], 2 * retry)

    def _message(self, notice: Notice) -> dict[str, Any]:
        return {
            "type": TYPE,
            "sender": self._name,
            "number": self._sent,
            "kind": notice.kind.value,
            "runs": list(notice.runs),
            "queues": notice.is_in_queues,
        }

    async def _keep_receiving(self, channel: str) -> None:
        retry = RETRIES[0]
        while True:
            try:
                await self._join(channel)
                self._received.clear()
                self._deliver(RESYNC)
                if retry != RETRIES[0]:
                    logger.warning("the channel layer delivers messages again")
                retry = RETRIES[0]
                while True:
                    self._take(await self._layer.receive(channel))
                    if time.monotonic() - self._joined_at > REJOIN:
                        await self._join(channel)
            except Exception as error:
                if retry == RETRIES[0]:
                    logger.warning("the channel layer delivers no messages, trying again: %s", error)
                self._deliver(STALE)
                await asyncio.sleep(retry)
                retry = min(RETRIES[1], 2 * retry)

    async def _join(self, channel: str) -> None:
        await self._layer.group_add(GROUP, channel)
        self._joined_at = time.monotonic()

    def _take(self, message: dict[str, Any]) -> None:
        """Deliver a message; where one is missing before it, which a full layer drops, ask for everything."""
        try:
            sender, number = str(message["sender"]), int(message["number"])
            notice = Notice(
                Kind(message["kind"]), frozenset(filter(db.is_run_id, message["runs"])), bool(message["queues"])
            )
        except (KeyError, TypeError, ValueError):
            # of another release, or of another user of the layer
            logger.warning("a message from the channel layer cannot be read; pages load themselves anew")
            self._deliver(RESYNC)
            return
        is_gap = bool(self._received) and number != self._received.get(sender, 0) + 1
        self._received = {sender: number}  # one speaks at a time
        self._deliver(RESYNC if is_gap else notice)
