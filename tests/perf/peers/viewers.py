"""People who look at a run's page: a process with as many of them as are asked for.

`viewers.py look N/SECONDS SOCKET` opens N pages of the newest run, one after the other so many seconds later, each with
a websocket, and loads them as a browser does: when something changed, at most with the token bucket of `live.js`, and
no faster than the server answers easily. It prints "ready" when all are connected, and how much was heard and loaded
when its input ends.

`viewers.py latency N SOCKET` pauses and resumes that run, N times in all, and prints the milliseconds from each commit
to the message at a page.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.models import Permission  # noqa: E402
from django.test import Client  # noqa: E402
from websockets.asyncio.client import unix_connect  # noqa: E402
from websockets.sync.client import unix_connect as unix_connect_here  # noqa: E402

from django_workflow.db import batches  # noqa: E402
from django_workflow.models import Run  # noqa: E402
from django_workflow.permissions import PERMISSIONS  # noqa: E402
from django_workflow.runs import RunHandle  # noqa: E402

ORIGIN = "http://localhost"
PAUSE = 0.1
# as in live.js
LOADS_AT_ONCE, LOAD_EVERY, LOAD_SELDOM, LOAD_SHARE, LOAD_WITHIN = 3, 2.5, 2, 20, 15.0


def log_in() -> str:
    """Make an operator and return the header's value with their session."""
    user = get_user_model().objects.create_user("operator")
    user.user_permissions.set(Permission.objects.filter(codename__in=PERMISSIONS))
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"


def newest_run() -> str:
    """Return the id of the run that is looked at."""
    return str(Run.objects.latest("id").pk)


class Viewer:
    """One open page."""

    def __init__(self, path: str, run: str, cookie: str) -> None:
        self.path, self.run, self.cookie = path, run, cookie
        self.heard = self.loaded = 0
        self.seconds = 0.0
        self.is_wanted = asyncio.Event()
        self.tokens, self.filled_at, self.every = float(LOADS_AT_ONCE), time.monotonic(), LOAD_EVERY
        self.usual = LOAD_EVERY

    async def listen(self, connected: asyncio.Event) -> None:
        """Keep the socket open; whatever comes makes a load wanted."""
        uri = f"ws://localhost/ws/workflow/runs/{self.run}/"
        headers = {"Cookie": self.cookie}
        async with unix_connect(self.path, uri, origin=ORIGIN, additional_headers=headers) as socket:
            async for text in socket:
                self.heard += 1
                self.usual = max(LOAD_EVERY, json.loads(text).get("pause", 0))
                self.every = max(self.every, self.usual)
                self.is_wanted.set()
                connected.set()

    async def load_when_wanted(self) -> None:
        """Load, one at a time."""
        while True:
            await self.is_wanted.wait()
            has_waited = await self.token()
            self.is_wanted.clear()
            began = time.monotonic()
            await self.load()
            self.seconds += time.monotonic() - began
            self.loaded += 1
            every = min(LOAD_SELDOM * self.usual, 1.25 * self.every) if has_waited else self.usual
            self.every = max(every, min(LOAD_WITHIN, LOAD_SHARE * (time.monotonic() - began)))

    async def token(self) -> bool:
        """Wait for a token; return whether there was none at once."""
        has_waited = False
        while True:
            now = time.monotonic()
            most = 1 if self.usual > LOAD_EVERY else LOADS_AT_ONCE
            self.tokens = min(most, self.tokens + (now - self.filled_at) / self.every)
            self.filled_at = now
            if self.tokens >= 1:
                self.tokens -= 1
                return has_waited
            has_waited = True
            await asyncio.sleep((1 - self.tokens) * self.every)

    async def load(self) -> None:
        """Fetch the page."""
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 22)
        lines = [f"GET /workflow/runs/{self.run}/ HTTP/1.1", "Host: localhost", f"Cookie: {self.cookie}"]
        writer.write("\r\n".join([*lines, "X-Requested-With: fetch", "Connection: close", "", ""]).encode())
        answer = await reader.read()
        writer.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer[:2000].decode())


async def look(count: int, every: float, path: str) -> dict[str, float]:
    """Open pages, so many seconds apart, and keep them open until the input ends."""
    run, cookie = await asyncio.to_thread(newest_run), await asyncio.to_thread(log_in)
    viewers, tasks = [], []
    for _ in range(count):
        viewer, connected = Viewer(path, run, cookie), asyncio.Event()
        viewers.append(viewer)
        tasks += [asyncio.create_task(viewer.listen(connected)), asyncio.create_task(viewer.load_when_wanted())]
        await asyncio.wait_for(connected.wait(), 30)
        await asyncio.sleep(every)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # nothing ends before the input but by an error
        task.cancel()
    loaded = sum(viewer.loaded for viewer in viewers)
    seconds = sum(viewer.seconds for viewer in viewers)
    return {"heard": sum(viewer.heard for viewer in viewers), "loaded": loaded, "ms": 1000 * seconds / max(1, loaded)}


def latency(count: int, path: str) -> list[float]:
    """Change the run and wait for the message, again and again."""
    run, cookie = newest_run(), log_in()
    handle = RunHandle(Run.objects.get(pk=run).pk)
    committed: list[float] = []
    notify = batches.notify

    def note_and_notify(notifications: list[tuple[str, str]]) -> None:
        committed.append(time.monotonic())  # what is told of has just been committed
        notify(notifications)

    batches.notify = note_and_notify
    uri, headers = f"ws://localhost/ws/workflow/runs/{run}/", {"Cookie": cookie}
    values = []
    with unix_connect_here(path, uri, origin=ORIGIN, additional_headers=headers) as socket:
        socket.recv()
        for number in range(count):
            time.sleep(PAUSE)
            committed.clear()
            handle.resume() if number % 2 else handle.pause()
            message = socket.recv(timeout=10)
            values.append(1000 * (time.monotonic() - committed[0]))
            if json.loads(message)["type"] != "changed":
                raise RuntimeError(message)
    return values


if __name__ == "__main__":
    role, numbers, place = sys.argv[1], sys.argv[2].split("/"), sys.argv[3]
    number = int(numbers[0])
    result = latency(number, place) if role == "latency" else asyncio.run(look(number, float(numbers[1]), place))
    sys.stdout.write(json.dumps(result) + "\n")
