"""The one language every contender speaks, ours included: set up, work, and a client on stdin.

It runs inside each contender's own virtual environment, so it needs nothing but the standard
library. Times are CLOCK_MONOTONIC, which all processes of a machine share.

The driver reads three things of a contender: when its first handler began (a file written once
per process), when its handlers of a `mark` flow ran (a line each), and when its own storage says
that everything is finished.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Protocol

CONCURRENCY = int(os.environ.get("PERF_CONCURRENCY", "16"))
MARKS = Path(os.environ["PERF_MARKS"])
LINES = MARKS / "lines"
POLL = 0.02
WARM_UPS = 20


class Contender(Protocol):
    """What a peer's module offers; `kind` names a flow: noop, noop_async, chain, diamond, mark, mark_chain, map."""

    def setup(self) -> None:
        """Create the schema in the empty database that the environment names."""

    def start(self, kind: str, count: int) -> None:
        """Start `count` runs (of `map`: one run with `count` items) and return once they are stored."""

    def is_settled(self) -> bool:
        """Whether everything started through this object is stored as finished, as cheaply as it can be asked."""

    def succeeded(self) -> int:
        """The exact number of runs stored as succeeded."""

    def work(self) -> None:
        """Be one worker process until SIGTERM."""


def clock() -> float:
    """Seconds on the clock that every process of this machine shares."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


_begun: set[int] = set()


def begin() -> None:
    """Record when the first handler of this process began; every later call costs one look."""
    if not _begun:
        _begun.add(os.getpid())
        (MARKS / f"begin-{os.getpid()}").write_text(repr(clock()))


def mark() -> None:
    """Record that a handler is here, now."""
    now = clock()
    # O_APPEND makes one short write atomic, so handlers of several processes may share the file.
    descriptor = os.open(LINES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{now!r}\n".encode())
    os.close(descriptor)


def read_lines() -> list[float]:
    """The times handlers have marked so far."""
    return [float(line) for line in LINES.read_text().split()] if LINES.exists() else []


def wait_settled(contender: Contender, timeout: float) -> float | None:
    """Poll until everything is finished; return the time at which that was seen, or None after `timeout` seconds."""
    deadline = clock() + timeout
    while not contender.is_settled():
        if clock() > deadline:
            return None
        time.sleep(POLL)
    return clock()


def probe_once(contender: Contender, kind: str, count: int, timeout: float) -> float:
    """Start one run and return the seconds until its handler marked its line."""
    seen = len(read_lines())
    began = clock()
    contender.start(kind, count)
    deadline = began + timeout
    while len(lines := read_lines()) <= seen:
        if clock() > deadline:
            raise TimeoutError(f"no handler of {kind} within {timeout:.0f} s")
        # Coarse on purpose: the line carries its own time, and a busy poll would take a core from the worker.
        time.sleep(0.01)
    return lines[-1] - began


def probe(contender: Contender, kind: str, count: int, repeat: int, pause: float, timeout: float) -> list[float]:
    """Latencies of `repeat` single starts, each after a pause in which the worker falls idle."""
    latencies = []
    for _ in range(repeat):
        time.sleep(pause)
        latencies.append(probe_once(contender, kind, count, timeout))
    return latencies


def answer(contender: Contender, request: dict[str, Any]) -> Any:
    """Do what one request of the driver asks."""
    match request:
        case {"do": "start", "kind": kind, "count": count}:
            began = clock()
            contender.start(kind, count)
            return clock() - began
        case {"do": "wait", "timeout": timeout}:
            return wait_settled(contender, timeout)
        case {"do": "count"}:
            return contender.succeeded()
        case {"do": "warm"}:
            return probe(contender, "mark", 1, WARM_UPS, 0.0, 30.0)
        case {"do": "probe", "kind": kind, "count": count, "repeat": repeat, "pause": pause, "timeout": timeout}:
            return probe(contender, kind, count, repeat, pause, timeout)
    raise ValueError(f"unknown request: {request}")


def serve_client(contender: Contender) -> None:
    """Answer the driver's requests, one JSON document per line, until it closes the pipe."""
    # Peers log to stdout now and then; the answers keep the real one, anything printed goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply: dict[str, Any] = {"ok": answer(contender, json.loads(line))}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=answers, flush=True)


def main(contender: Contender) -> None:
    """Run the role that the command line names: setup, work or client."""
    match sys.argv[1:2]:
        case ["setup"]:
            contender.setup()
        case ["work"]:
            contender.work()
        case ["client"]:
            serve_client(contender)
        case _:
            raise SystemExit("usage: <contender>.py setup | work | client")
