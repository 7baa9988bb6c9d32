"""Procrastinate as a contender: its psycopg connector, one worker with the common concurrency."""

from __future__ import annotations

import asyncio
import os

import procrastinate
import protocol
import psycopg

# The asynchronous psycopg connector is the one its documentation recommends for a worker
# (https://procrastinate.readthedocs.io/en/stable/howto/basics/connector.html), LISTEN/NOTIFY is its default. Its worker
# fetches one job after the other, so neither a wider pool than the default 4, nor `delete_jobs`, nor uvloop makes it
# faster: each was tried side by side, and came out within the noise.
app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task(name="noop")
def noop() -> None:
    """Do nothing, in a thread."""
    protocol.begin()


@app.task(name="noop_async")
async def noop_async() -> None:
    """Do nothing, on the event loop."""
    protocol.begin()


@app.task(name="mark")
async def mark() -> None:
    """Record the time."""
    protocol.mark()


class Procrastinate:
    """Runs are jobs; a job is finished when it is neither `todo` nor `doing`."""

    def __init__(self) -> None:
        self.connection: psycopg.Connection | None = None

    def query(self, sql: str) -> tuple[int]:
        """The one row of a query, on a connection that is kept."""
        if self.connection is None:
            self.connection = psycopg.connect("", autocommit=True)
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return row

    def setup(self) -> None:
        """Apply its schema."""
        with app.open():
            app.schema_manager.apply_schema()

    def start(self, kind: str, count: int) -> None:
        """Defer all jobs in one batch."""
        asyncio.run(self.defer(kind, count))

    async def defer(self, kind: str, count: int) -> None:
        """Use the batch call, chunk by chunk, in one event loop."""
        async with app.open_async():
            for first in range(0, count, 1000):
                size = min(1000, count - first)
                await app.tasks[kind].batch_defer_async(*[{} for _ in range(size)])

    def is_settled(self) -> bool:
        """No job is left to do or being done."""
        unfinished = "SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        return self.query(f"SELECT NOT EXISTS ({unfinished})")[0] == 1

    def succeeded(self) -> int:
        """Count the jobs that succeeded."""
        return self.query("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'")[0]

    def work(self) -> None:
        """One worker; INFO lines would be written per job, so logging stays at its default WARNING."""
        asyncio.run(self.run_worker())

    async def run_worker(self) -> None:
        """Work until SIGTERM, which its own handler turns into a clean stop."""
        async with app.open_async():
            await app.run_worker_async(concurrency=protocol.CONCURRENCY)


if __name__ == "__main__":
    os.environ.setdefault("PGAPPNAME", "procrastinate")
    protocol.main(Procrastinate())
