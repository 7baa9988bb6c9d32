"""The sockets of live pages: they say that something changed, never what; the page fetches itself anew.

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

from django_workflow.live.hub import Hub, hub
from django_workflow.live.inbox import STALE, Inbox, Kind, Notice
from django_workflow.live.viewers import REFUSED, Access, Viewer, access_to_board, access_to_run

logger = logging.getLogger("django_workflow.live")

#: Code with which a socket is closed that cannot be served now.
TRY_AGAIN_LATER = 1013
#: Most characters of a message from a page, and most messages in how many seconds.
LONGEST = 200
MOST, MOST_IN = 20, 10.0
ASK = {"type": "resync"}
ASKED = Notice(Kind.RESYNC, is_asked=True)
#: Seconds between two loads that pages keep by themselves (`live.js`).
USUAL_PAUSE = 2.5
#: Ids of runs in one message to a board.
BOARD_LIMIT = 100


class LiveConsumer(AsyncWebsocketConsumer):
    """A socket that gets the notices of its process's hub, as long as its user may see them.

    Session, user and permissions are read when it opens, for each message of the page, and again before something
    is told when they were read some seconds ago.
    """

    channel_layer_alias = "django_workflow needs no channel per socket"
    limit: ClassVar[int]

    viewer: Viewer
    inbox: Inbox
    hub: Hub | None = None
    run_id: str | None = None
    access = Access()

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
        self.viewer = Viewer(self.scope)
        await self.accept()
        try:
            await self._look()
        except DatabaseError as error:
            logger.warning("a socket was opened while the database is away: %s", error)
            await self.close(TRY_AGAIN_LATER)
            return
        if self.access.refusal is not None:
            await self._refuse(self.access.refusal)
            return
        self.inbox = Inbox(self.limit)
        self.hub = hub()
        await self.hub.join(self.inbox, self.run_id)
        self.telling = asyncio.create_task(self._keep_telling())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take the one thing that a page may say."""
        if self.telling is None or self.telling.done():
            return  # refused already
        if not _is_ask(text_data) or self._is_too_often():
            self.telling.cancel()
            await self._refuse(REFUSED)
            return
        # a page that loads now would miss what comes before somebody listens again; it is notified then
        self.inbox.put(STALE if self.hub is None or self.hub.is_stale else ASKED)

    async def disconnect(self, code: int) -> None:
        """Tell it nothing more."""
        self._leave()

    def _leave(self) -> None:
        if self.telling is not None:
            self.telling.cancel()
        if self.hub is not None:
            self.hub.leave(self.inbox, self.run_id)
            self.hub = None

    def _is_too_often(self) -> bool:
        now = time.monotonic()
        is_full = len(self.heard_at) == MOST and now - self.heard_at[0] < MOST_IN
        self.heard_at.append(now)
        return is_full

    async def _look(self) -> None:
        """Read who is there and what they may see."""
        try:
            self.access = await self.viewer.look(self._access)
        except DatabaseError:
            # a connection that broke since it was last used is noticed only now, and made anew
            self.access = await self.viewer.look(self._access)

    def _access(self, user: Any) -> Access:
        raise NotImplementedError

    async def _refuse(self, code: int) -> None:
        await self._say(type="refused")
        await self.close(code)

    async def _say(self, **message: Any) -> None:
        await self.send(json.dumps(message, separators=(",", ":")))

    async def _keep_telling(self) -> None:
        """Tell what is in the inbox until the user may not hear it any more."""
        try:
            await self._say(type="hello", version=self.version, **self._pace())
            while await self._has_told(await self.inbox.take()):
                pass
        except OSError:
            pass  # the page has gone; the server says so in a moment
        except Exception:
            # a socket that tells nothing looks alive: the page connects anew
            logger.exception("a socket of live pages failed")
            with contextlib.suppress(Exception):  # closed already
                await self.close(TRY_AGAIN_LATER)

    async def _has_told(self, notice: Notice) -> bool:
        """Tell something; or close the socket, where the user may not hear it any more."""
        if notice.kind is not Kind.STALE and (notice.is_asked or not self.viewer.is_known):
            try:
                await self._look()
            except DatabaseError as error:
                # whether the user may hear it nobody can say; the page asks again
                logger.warning("a socket is told nothing while the database is away: %s", error)
                notice = STALE
        if self.access.refusal is not None:
            await self._refuse(self.access.refusal)
            return False
        await self._tell(notice)
        return True

    async def _tell(self, notice: Notice) -> None:
        if notice.kind is Kind.CHANGED:
            await self._tell_changes(notice)
        else:
            await self._say(type=notice.kind.value)

    async def _tell_changes(self, notice: Notice) -> None:
        raise NotImplementedError

    def _pace(self) -> dict[str, float]:
        """Tell the page how often it may load itself, where many are open."""
        pause = self.hub.pause if self.hub is not None else 0.0
        return {"pause": pause} if pause > USUAL_PAUSE else {}

    def _next_version(self) -> int:
        self.version += 1
        return self.version


class RunConsumer(LiveConsumer):
    """The socket of one run's page."""

    limit = 1

    def _access(self, user: Any) -> Access:
        run_id: UUID = self.scope["url_route"]["kwargs"]["run_id"]
        self.run_id = str(run_id)
        return access_to_run(user, run_id, self.access.flow)

    async def _tell_changes(self, notice: Notice) -> None:
        await self._say(type="changed", version=self._next_version(), run=self.run_id, **self._pace())


class BoardConsumer(LiveConsumer):
    """The socket of pages that show many runs."""

    limit = BOARD_LIMIT

    def _access(self, user: Any) -> Access:
        return access_to_board(user)

    async def _tell_changes(self, notice: Notice) -> None:
        runs = notice.runs
        if self.access.flows is not None and self.hub is not None:
            flows = await self.hub.flows_of_runs.of(runs)
            runs = {run for run, flow in flows.items() if flow in self.access.flows}
        if runs or notice.is_in_queues:
            await self._say(type="changed", version=self._next_version(), runs=sorted(runs), **self._pace())


def _is_ask(text: str | None) -> bool:
    if text is None or len(text) > LONGEST:
        return False
    try:
        return bool(json.loads(text) == ASK)
    except (ValueError, RecursionError):
        return False
