"""Servers of the site with live pages, as processes of their own, and pages that are connected to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import unix_connect

from tests.live.sockets import BOARD, SECONDS
from tests.live.viewers import cookie
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent.parent
APPLICATION = "tests.live.site.asgi:application"
COMMANDS = {
    "uvicorn": ["uvicorn", "--log-level", "warning", "--uds", "{path}", APPLICATION],
    "daphne": ["daphne", "--verbosity", "0", "-u", "{path}", APPLICATION],
}


class Server:
    """A web process; it listens on a unix socket."""

    def __init__(self, folder: Path, name: str, url: str, program: str = "uvicorn", **environ: str) -> None:
        self.path = folder / f"{name}.sock"
        self.log = folder / f"{name}.log"
        command = [word.format(path=self.path) for word in COMMANDS[program]]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.live.site.settings", "DATABASE_URL": url, **environ},
                stdout=log,
                stderr=log,
            )

    def page(self, session: str, path: str = BOARD) -> Page:
        """Open a page's socket, once the server is up, and hear its hello."""
        page = self.connect(session, path)
        assert page.hear()["type"] == "hello"
        return page

    def connect(self, session: str, path: str = BOARD) -> Page:
        """Open a page's socket, once the server is up."""
        return eventually(lambda: self._try_to_connect(session, path), f"{self.log} says why not", seconds=30)

    def _try_to_connect(self, session: str, path: str) -> Page | None:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return Page(self.path, session, path)
        except (OSError, InvalidHandshake):
            return None

    def kill(self) -> None:
        """End it at once, as a machine that fails does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end and wait; return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Page:
    """A page's end of a socket."""

    def __init__(self, server: Path, session: str, path: str) -> None:
        self._opened = ExitStack()
        headers = {"Cookie": cookie(session)}
        opening = unix_connect(
            str(server), f"ws://localhost{path}", origin="http://localhost", additional_headers=headers
        )
        self.connection = self._opened.enter_context(opening)

    def hear(self, timeout: float = SECONDS) -> dict:
        """Return the next message."""
        return json.loads(self.connection.recv(timeout=timeout))

    def hear_until(self, kind: str) -> list[dict]:
        """Return all messages up to the first of a kind."""
        heard = [self.hear()]
        while heard[-1]["type"] != kind:
            heard.append(self.hear())
        return heard

    def changes_until(self, run: str) -> list[str]:
        """Return the ids of all runs that were told of, with repetitions, up to a message that has one of them."""
        told: list[str] = []
        while run not in told:
            message = self.hear()
            assert message["type"] == "changed", message
            told += message["runs"]
        return told

    def is_silent(self) -> bool:
        """Say whether nothing comes for a moment."""
        try:
            self.connection.recv(timeout=0.3)
        except TimeoutError:
            return True
        return False

    def ask(self) -> None:
        self.connection.send(json.dumps({"type": "resync"}))

    def ending(self) -> tuple[list[dict], int]:
        """Return what is said before the server closes the socket, and with which code."""
        heard = []
        try:
            while True:
                heard.append(self.hear())
        except ConnectionClosed as closed:
            return heard, closed.rcvd.code

    def close(self) -> None:
        self._opened.close()


class Redis:
    """A Redis of the test's own, on a unix socket; what it holds is lost when it stops."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no redis-server on this machine")
        self.path = folder / "redis.sock"
        self._command = [program, "--port", "0", "--unixsocket", str(self.path), "--dir", str(folder), "--save", ""]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self.path.exists, "Redis starts")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(SECONDS)
        self.path.unlink(missing_ok=True)
