"""A PostgreSQL whose connections pass through here: each statement is recorded, and one of them can go wrong.

It speaks just enough of the protocol to know where a statement begins and where its answer ends. What goes wrong is
real: the server itself cancels, times out or refuses what it is given in place of the statement, and the client gets
its answer; or the connection is cut.
"""

from __future__ import annotations

import contextlib
import re
import select
import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

CANCEL, TIMEOUT, LOCK = "cancelled", "timed out", "refused by a lock"
CUT_BEFORE, CUT_AFTER = "cut off before it is sent", "cut off before its answer"
FAULTS = (CANCEL, TIMEOUT, LOCK, CUT_BEFORE, CUT_AFTER)

#: An advisory lock that somebody else holds.
HELD = 4711
#: What the server does in place of a statement.
INSTEAD = {
    CANCEL: "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)",
    TIMEOUT: "SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)",
    LOCK: f"SET LOCAL lock_timeout = 1; SELECT pg_advisory_xact_lock({HELD})",
}


#: Django's names of savepoints, which no two threads share.
SAVEPOINT = re.compile(r'"s\d+_x\d+"')


@dataclass(frozen=True)
class Step:
    """A statement, and how many of the same text were sent before it."""

    text: str
    number: int = 0

    def __str__(self) -> str:
        words = " ".join(self.text.split())
        return f"{words[:60]}#{self.number}"


#: Says what happens to a step, if anything.
Choice = Callable[[Step], str | None]


def nothing(step: Step) -> None:
    """Choose nothing."""


class Proxy:
    """Stands between clients and the server, at a socket of its own.

    steps: the statements that were sent, in order. chosen: says what happens to a step.
    struck: the steps that went wrong.
    """

    def __init__(self, host: str, port: str) -> None:
        self._server = f"{host}/.s.PGSQL.{port}"
        self.host = tempfile.mkdtemp(prefix="wf-")
        self.steps: list[Step] = []
        self.struck: list[Step] = []
        self._chosen: Choice = nothing
        self._lock = threading.Lock()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"{self.host}/.s.PGSQL.{port}")
        self._listening.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, chosen: Choice) -> None:
        """Forget what was recorded, and let something else go wrong."""
        with self._lock:
            self.steps, self.struck, self._chosen = [], [], chosen

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()
        shutil.rmtree(self.host)

    def next(self, text: str) -> str | None:
        """Record a statement; return what is to happen to it."""
        text = SAVEPOINT.sub("savepoint", text)
        with self._lock:
            step = Step(text, sum(other.text == text for other in self.steps))
            self.steps.append(step)
            fault = self._chosen(step)
            if fault is not None:
                self.struck.append(step)
            return fault

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError, EOFError):
            server.connect(self._server)
            (length,) = struct.unpack("!i", start := _exactly(client, 4))
            server.sendall(start + _exactly(client, length - 4))
            _Conversation(self, client, server).run()


class _Conversation:
    """One connection: the client's statements and the server's answers."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._prepared: dict[bytes, str] = {}

    def run(self) -> None:
        """Hand on messages until one side ends."""
        while True:
            readable, _, _ = select.select([self._client, self._server], [], [])
            if self._server in readable:
                self._client.sendall(_packed(*_message(self._server)))
            if self._client in readable:
                self._hand_on()

    def _hand_on(self) -> None:
        """Hand on one statement of the client, and its answer."""
        sent, text = b"", None
        while True:
            kind, body = _message(self._client)
            sent += _packed(kind, body)
            if kind == b"P":
                name, sql, _ = body.split(b"\0", 2)
                self._prepared[name] = sql.decode()
            elif kind == b"B":
                text = self._prepared[body.split(b"\0", 2)[1]]
            elif kind == b"Q":
                text = body.rstrip(b"\0").decode()
            if kind in b"QSpX":  # the end of a statement, of a batch; a password; the end of all
                break
        if kind in b"pX":
            self._server.sendall(sent)
            return
        fault = None if text is None else self._proxy.next(text)
        if fault == CUT_BEFORE:
            raise EOFError
        if fault in INSTEAD:
            self._server.sendall(_packed(b"Q", INSTEAD[fault].encode() + b"\0"))
            self._client.sendall(b"".join(_packed(*item) for item in self._answer() if item[0] in b"EZ"))
            return
        self._server.sendall(sent)
        answer = [_packed(*item) for item in self._answer()]
        if fault == CUT_AFTER:
            raise EOFError
        self._client.sendall(b"".join(answer))

    def _answer(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            kind, body = _message(self._server)
            yield kind, body
            if kind == b"Z":
                return


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _message(side: socket.socket) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!ci", _exactly(side, 5))
    return kind, _exactly(side, length - 4)


def _exactly(side: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += _some(side, count - len(found))
    return found


def _some(side: socket.socket, most: int = 65_536) -> bytes:
    found = side.recv(most)
    if not found:
        raise EOFError
    return found


@contextlib.contextmanager
def proxied(settings: dict[str, Any], connect: dict[str, Any]) -> Iterator[Proxy]:
    """Make a proxy to a server, on which somebody holds a lock."""
    proxy = Proxy(settings["HOST"], settings["PORT"])
    try:
        with psycopg.connect(**connect, autocommit=True) as holder:
            holder.execute(f"SELECT pg_advisory_lock({HELD})")
            yield proxy
    finally:
        proxy.close()
