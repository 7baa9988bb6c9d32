"""Sockets of live pages, as a browser opens them, in the event loop of a test."""

from __future__ import annotations

from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator

from django_workflow import db
from tests.live.site.asgi import application
from tests.live.viewers import cookie

BOARD = "/ws/workflow/board/"
SECONDS = 10


def path_of(run):
    """Return the path of a run's socket."""
    return f"/ws/workflow/runs/{getattr(run, 'id', run)}/"


class Socket:
    """One end of a socket: the page's."""

    def __init__(self, path=BOARD, session=None, origin="http://localhost"):
        headers = [(b"host", b"localhost")]
        if origin is not None:
            headers.append((b"origin", origin.encode()))
        if session is not None:
            headers.append((b"cookie", cookie(session).encode()))
        self.communicator = WebsocketCommunicator(application, path, headers=headers)

    async def open(self):
        """Connect; return whether the server took it."""
        is_open, _ = await self.communicator.connect(timeout=SECONDS)
        return is_open

    async def __aenter__(self):
        assert await self.open()
        assert (await self.hear())["type"] == "hello"
        return self

    async def __aexit__(self, *error):
        await self.close()

    async def close(self):
        await self.communicator.disconnect(timeout=SECONDS)

    async def hear(self):
        """Return the next message."""
        return await self.communicator.receive_json_from(timeout=SECONDS)

    async def hear_until(self, is_last):
        """Return all messages up to the first of which something holds."""
        heard = [await self.hear()]
        while not is_last(heard[-1]):
            heard.append(await self.hear())
        return heard

    async def say(self, text=None, data=None):
        await self.communicator.send_to(text_data=text, bytes_data=data)

    async def ending(self):
        """Return what is said before the socket is closed, and with which code."""
        heard = []
        while True:
            output = await self.communicator.receive_output(timeout=SECONDS)
            if output["type"] == "websocket.close":
                return heard, output["code"]
            heard.append(output["text"])

    async def is_silent(self):
        """Say whether nothing comes for a moment."""
        return await self.communicator.receive_nothing(timeout=0.3)


@database_sync_to_async
def tell(*runs):
    """Notify of runs that changed, as the engine does after a commit."""
    db.notify([(db.RUN_CHANNEL, str(run)) for run in runs])
