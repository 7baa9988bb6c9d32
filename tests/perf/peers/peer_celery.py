"""Celery as a contender: Redis as broker and result backend, the prefork pool."""

from __future__ import annotations

import os

import protocol
import redis
from celery import Celery, chain, chord, group
from celery.result import AsyncResult

SOCKET = os.environ.get("PERF_REDIS", "")

app = Celery(
    "peer_celery",
    broker=f"redis+socket://{SOCKET}?virtual_host=0",
    backend=f"redis+socket://{SOCKET}?virtual_host=1",
)
app.conf.update(
    # Its guide (https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits) recommends a large
    # multiplier for many short tasks. Tried side by side: 128 drains as fast as the default 4 and runs chains 15 %
    # slower, so it keeps the default.
    worker_prefetch_multiplier=4,
    # Same page, "Using Transient Queues".
    task_default_delivery_mode="transient",
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""
    protocol.begin()


@app.task(name="mark")
def mark() -> None:
    """Record the time."""
    protocol.mark()


@app.task(name="item")
def item(value: int) -> int:
    """One item of a map."""
    return value


@app.task(name="reduce")
def reduce(values: list[int]) -> int:
    """Join the items of a map."""
    total = sum(values)
    protocol.mark()
    return total


class CeleryContender:
    """Runs are canvases; a run is finished when the result of its last task is stored."""

    def __init__(self) -> None:
        self.results = redis.Redis(unix_socket_path=SOCKET, db=1)
        self.started: list[str] = []
        self.waiting: list[str] = []

    def setup(self) -> None:
        """Empty both databases."""
        self.results.flushall()

    def start_one(self, kind: str, count: int) -> AsyncResult:
        """Send one canvas."""
        match kind:
            case "noop":
                return noop.delay()
            case "mark":
                return mark.delay()
            case "chain":
                return chain(noop.si(), noop.si(), noop.si()).apply_async()
            case "diamond":
                return chain(noop.si(), group(noop.si(), noop.si()), noop.si()).apply_async()
            case "mark_chain":
                return chain(noop.si(), noop.si(), mark.si()).apply_async()
            case "map":
                return chord((item.s(number) for number in range(count)), reduce.s()).apply_async()
        raise ValueError(kind)

    def start(self, kind: str, count: int) -> None:
        """Send canvases one by one over one connection, which is how a Celery application does it."""
        runs = 1 if kind == "map" else count
        identities = [self.start_one(kind, count).id for _ in range(runs)]
        self.started += identities
        self.waiting += identities

    def is_settled(self) -> bool:
        """Ask for the next hundred results that were missing; forget those that are there."""
        while chunk := self.waiting[:100]:
            if self.results.exists(*[f"celery-task-meta-{identity}" for identity in chunk]) < len(chunk):
                return False
            del self.waiting[: len(chunk)]
        return True

    def succeeded(self) -> int:
        """Count the last tasks whose state is SUCCESS."""
        return sum(AsyncResult(identity, app=app).state == "SUCCESS" for identity in self.started)

    def work(self) -> None:
        """One worker with a prefork pool; no gossip, no mingle, no remote control: less work for the same result."""
        options = ["--pool=prefork", f"--concurrency={protocol.CONCURRENCY}", "--loglevel=ERROR", "--without-gossip"]
        app.worker_main(["worker", *options, "--without-mingle", "--without-heartbeat"])


if __name__ == "__main__":
    protocol.main(CeleryContender())
