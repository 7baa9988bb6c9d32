"""The sockets of live pages: they tell that something changed, never what; the page fetches itself anew.

What a page may say is one word, that it wants to ask for everything. Nothing can be done through a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from typing import Any, ClassVar
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import Error as DatabaseError

from django_workflow.live.bridge import Bridge, bridge
from django_workflow.live.mailbox import STALE, Kind, Mailbox, Told
from django_workflow.live.visitors import REFUSED, Sight, Visitor, sight_of_board, sight_of_run

logger = logging.getLogger("django_workflow.live")

#: Code with which a socket is closed that cannot be served now.
TRY_AGAIN_LATER = 1013
#: Most characters of a message from a page, and most messages in how many seconds.
LONGEST = 200
MOST, MOST_IN = 20, 10.0
ASK = {"type": "resync"}
ASKED = Told(Kind.RESYNC, is_asked=True)
#: Seconds between two loads that pages keep by themselves (`live.js`).
USUAL_PAUSE = 2.5
#: Ids of runs in one message to a board.
BOARD_LIMIT = 100


class LiveConsumer(AsyncWebsocketConsumer):
    """A socket that is told what the bridge of its process hears, as long as its user may see it.

    Session, user and permissions are read when it opens, for each message of the page, and again before something
    is told when they were read some seconds ago.
    """

    channel_layer_alias = "django_workflow needs no channel per socket"
    limit: ClassVar[int]

    visitor: Visitor
    mailbox: Mailbox
    bridge: Bridge | None = None
    run_id: str | None = None
    sight = Sight()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket."""
        self.telling: asyncio.Task[None] | None = None
        self.version = 0
        self.heard_at: deque[float] = deque(maxlen=MOST)
        try:
            await super().__call__(scope, receive, send)
        finally:  # however it ends; a server may cancel it
            self._leave()

    async def connect(self) -> None:
        """Let the user in, or not."""
        self.visitor = Visitor(self.scope)
        await self.accept()
        try:
            await self._look()
        except DatabaseError as error:
            logger.warning("a socket was opened while the database is away: %s", error)
            await self.close(TRY_AGAIN_LATER)
            return
        if self.sight.refusal is not None:
            await self._refuse(self.sight.refusal)
            return
        self.mailbox = Mailbox(self.limit)
        self.bridge = bridge()
        await self.bridge.join(self.mailbox, self.run_id)
        self.telling = asyncio.create_task(self._keep_telling())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take the one thing that a page may say."""
        if self.telling is None or self.telling.done():
            return  # refused already
        if not _is_ask(text_data) or self._is_too_often():
            self.telling.cancel()
            await self._refuse(REFUSED)
            return
        # a page that loads now would miss what comes before somebody listens again; it is told when that is so
        self.mailbox.put(STALE if self.bridge is None or self.bridge.is_stale else ASKED)

    async def disconnect(self, code: int) -> None:
        """Tell it nothing more."""
        self._leave()

    def _leave(self) -> None:
        if self.telling is not None:
            self.telling.cancel()
        if self.bridge is not None:
            self.bridge.leave(self.mailbox, self.run_id)
            self.bridge = None

    def _is_too_often(self) -> bool:
        now = time.monotonic()
        is_full = len(self.heard_at) == MOST and now - self.heard_at[0] < MOST_IN
        self.heard_at.append(now)
        return is_full

    async def _look(self) -> None:
        """Read who is there and what they may see."""
        try:
            self.sight = await self.visitor.look(self._sight)
        except DatabaseError:
            # a connection that broke since it was last used is noticed only now, and made anew
            self.sight = await self.visitor.look(self._sight)

    def _sight(self, user: Any) -> Sight:
        raise NotImplementedError

    async def _refuse(self, code: int) -> None:
        await self._say(type="refused")
        await self.close(code)

    async def _say(self, **message: Any) -> None:
        await self.send(json.dumps(message, separators=(",", ":")))

    async def _keep_telling(self) -> None:
        """Tell what is in the mailbox until the user may not hear it any more."""
        try:
            await self._say(type="hello", version=self.version, **self._pace())
            while await self._has_told(await self.mailbox.take()):
                pass
        except OSError:
            pass  # the page has gone; the server says so in a moment
        except Exception:
            # a socket that tells nothing looks alive: the page connects anew
            logger.exception("a socket of live pages failed")
            with contextlib.suppress(Exception):  # closed already
                await self.close(TRY_AGAIN_LATER)

    async def _has_told(self, told: Told) -> bool:
        """Tell something; or close the socket, where the user may not hear it any more."""
        if told.kind is not Kind.STALE and (told.is_asked or not self.visitor.is_known):
            try:
                await self._look()
            except DatabaseError as error:
                # whether the user may hear it nobody can say; the page asks again
                logger.warning("a socket is told nothing while the database is away: %s", error)
                told = STALE
        if self.sight.refusal is not None:
            await self._refuse(self.sight.refusal)
            return False
        await self._tell(told)
        return True

    async def _tell(self, told: Told) -> None:
        if told.kind is Kind.CHANGED:
            await self._tell_changes(told)
        else:
            await self._say(type=told.kind.value)

    async def _tell_changes(self, told: Told) -> None:
        raise NotImplementedError

    def _pace(self) -> dict[str, float]:
        """Tell the page how often it may load itself, where many are open."""
        pause = self.bridge.pause if self.bridge is not None else 0.0
        return {"pause": pause} if pause > USUAL_PAUSE else {}

    def _next_version(self) -> int:
        self.version += 1
        return self.version


class RunConsumer(LiveConsumer):
    """The socket of one run's page."""

    limit = 1

    def _sight(self, user: Any) -> Sight:
        run_id: UUID = self.scope["url_route"]["kwargs"]["run_id"]
        self.run_id = str(run_id)
        return sight_of_run(user, run_id, self.sight.flow)

    async def _tell_changes(self, told: Told) -> None:
        await self._say(type="changed", version=self._next_version(), run=self.run_id, **self._pace())


class BoardConsumer(LiveConsumer):
    """The socket of pages that show many runs."""

    limit = BOARD_LIMIT

    def _sight(self, user: Any) -> Sight:
        return sight_of_board(user)

    async def _tell_changes(self, told: Told) -> None:
        runs = told.runs
        if self.sight.flows is not None and self.bridge is not None:
            flows = await self.bridge.flows_of_runs.of(runs)
            runs = {run for run, flow in flows.items() if flow in self.sight.flows}
        if runs or told.is_in_queues:
            await self._say(type="changed", version=self._next_version(), runs=sorted(runs), **self._pace())


def _is_ask(text: str | None) -> bool:
    if text is None or len(text) > LONGEST:
        return False
    try:
        return bool(json.loads(text) == ASK)
    except (ValueError, RecursionError):
        return False
