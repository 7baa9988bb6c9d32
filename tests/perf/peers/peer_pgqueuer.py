"""PgQueuer as a contender, job by job (its default batch of 10) or in batches of 100.

It has no synchronous handlers any more, and no chains: it takes part in the drains and in latency.
"""

from __future__ import annotations

import asyncio
import os
import signal

import asyncpg
import protocol
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

# asyncpg is the driver its documentation names first (reference/drivers.md), and `batch_size` its setting for
# throughput (10 unless told, as `pgq run --batch-size`). It dispatches every job it dequeued, without a limit, as a
# default worker does: a limit costs it a counting query per dequeue, so leaving it out is its faster setting.
BATCH = int(os.environ.get("PERF_PGQUEUER_BATCH", "10"))


class PgQueuerContender:
    """Runs are jobs; a finished job leaves the queue table and is in the log as `successful`."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.connection: asyncpg.Connection | None = None

    async def connect(self) -> asyncpg.Connection:
        """A connection that is kept."""
        if self.connection is None:
            self.connection = await asyncpg.connect()
        return self.connection

    def setup(self) -> None:
        """Install its schema, with all tables logged (`durable`, the default)."""
        self.loop.run_until_complete(self.install())

    async def install(self) -> None:
        """Install over its own driver."""
        await Queries(AsyncpgDriver(await self.connect())).install()

    def start(self, kind: str, count: int) -> None:
        """Enqueue all jobs with its batch call."""
        self.loop.run_until_complete(self.enqueue(kind, count))

    async def enqueue(self, kind: str, count: int) -> None:
        """One INSERT per thousand jobs."""
        queries = Queries(AsyncpgDriver(await self.connect()))
        for first in range(0, count, 1000):
            size = min(1000, count - first)
            await queries.enqueue([kind] * size, [None] * size, [0] * size)

    def fetch(self, sql: str) -> int:
        """The one value of a query."""

        async def value() -> int:
            return await (await self.connect()).fetchval(sql)

        return self.loop.run_until_complete(value())

    def is_settled(self) -> bool:
        """The queue table is empty."""
        return bool(self.fetch("SELECT NOT EXISTS (SELECT 1 FROM pgqueuer)"))

    def succeeded(self) -> int:
        """Count the jobs whose log says successful."""
        return self.fetch("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")

    def work(self) -> None:
        """One worker process."""
        uvloop.run(self.run_worker())

    async def run_worker(self) -> None:
        """Register the handlers and run until SIGTERM."""
        worker = PgQueuer(AsyncpgDriver(await asyncpg.connect()))

        @worker.entrypoint("noop")
        async def noop(job: Job) -> None:
            # How its documentation says to run a synchronous function.
            await asyncio.to_thread(protocol.begin)

        @worker.entrypoint("noop_async")
        async def noop_async(job: Job) -> None:
            protocol.begin()

        @worker.entrypoint("mark")
        async def mark(job: Job) -> None:
            protocol.mark()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.shutdown.set)
        await worker.run(batch_size=BATCH)


if __name__ == "__main__":
    protocol.main(PgQueuerContender())
