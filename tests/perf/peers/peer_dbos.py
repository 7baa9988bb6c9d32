"""DBOS as a contender: workflows of durable steps, enqueued on a DBOS queue."""

from __future__ import annotations

import os
import signal
import threading

import protocol
import psycopg
from dbos import DBOS, DBOSClient, DBOSConfig

URL = f"postgresql+psycopg://{os.environ['PGUSER']}@/{os.environ['PGDATABASE']}?host={os.environ['PGHOST']}"
QUEUE = "perf"
VERSION = "perf"

config: DBOSConfig = {
    "name": "perf",
    "system_database_url": URL,
    "application_version": VERSION,
    "log_level": "ERROR",
    "max_executor_threads": protocol.CONCURRENCY,
}
DBOS(config=config)


@DBOS.step()
def step() -> None:
    """A durable step that does nothing."""


@DBOS.workflow(name="noop")
def noop() -> None:
    """A workflow of one durable step, as our runs are."""
    protocol.begin()
    step()


@DBOS.workflow(name="chain")
def chain() -> None:
    """Three steps, one after the other."""
    protocol.begin()
    step()
    step()
    step()


class DbosContender:
    """Runs are workflows."""

    def __init__(self) -> None:
        self.client: DBOSClient | None = None
        self.connection: psycopg.Connection | None = None

    def setup(self) -> None:
        """Launch once, which migrates, and register the queue."""
        DBOS.launch()
        self.register_queue()
        DBOS.destroy()

    def register_queue(self) -> None:
        """A queue without limits of its own, polled often: the executor's threads bound the concurrency."""
        DBOS.register_queue(QUEUE, polling_interval_sec=0.01)

    def start(self, kind: str, count: int) -> None:
        """Enqueue one by one: its client has no call for many."""
        if self.client is None:
            self.client = DBOSClient(system_database_url=URL)
        for _ in range(count):
            self.client.enqueue({"queue_name": QUEUE, "workflow_name": kind, "app_version": VERSION})

    def query(self, sql: str) -> int:
        """The one value of a query, on a connection that is kept."""
        if self.connection is None:
            self.connection = psycopg.connect("", autocommit=True)
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return int(row[0])

    def is_settled(self) -> bool:
        """No workflow is enqueued or pending."""
        unfinished = "SELECT 1 FROM dbos.workflow_status WHERE status NOT IN ('SUCCESS', 'ERROR')"
        return bool(self.query(f"SELECT NOT EXISTS ({unfinished})"))

    def succeeded(self) -> int:
        """Count the workflows that succeeded."""
        return self.query("SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'")

    def work(self) -> None:
        """One process, until SIGTERM."""
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        DBOS.launch()
        stopped.wait()
        os._exit(0)  # its shutdown waits for polling threads; nothing is left to save


if __name__ == "__main__":
    protocol.main(DbosContender())
