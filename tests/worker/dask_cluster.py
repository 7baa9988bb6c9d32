"""A Dask cluster for tests: a scheduler in this process, workers in processes of their own, loopback only."""

from __future__ import annotations

import os
from typing import Any

import dask
from distributed import Client, LocalCluster

from tests.waiting import eventually
from tests.workers import database_url


class DaskCluster:
    """Workers of one thread each that know the flows of `tests.worker.site`; killed ones are replaced."""

    def __init__(self, workers: int, **options: Any) -> None:
        environment = {"DJANGO_SETTINGS_MODULE": "tests.worker.settings", "DATABASE_URL": database_url()}
        self._count = workers
        # a cluster gives up a worker that was killed and is not back after 15 s: here it is waited for
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
        self._cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            env=environment, silence_logs=50, preload=["django_workflow.contrib.dask.preload"], **options,
        )  # fmt: skip
        self.client = Client(self._cluster)

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return self._cluster.scheduler_address

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return list(self.client.run(os.getpid, on_error="ignore").values())

    def tasks(self) -> list[str]:
        """Return the keys of what the scheduler knows."""
        return list(self._cluster.scheduler.tasks)

    def wait_until_idle(self, replaced: int | None = None) -> None:
        """Wait until all workers are there, without one that was killed, and nothing is left to do."""
        eventually(lambda: len(pids := self.pids()) == self._count and replaced not in pids, "all Dask workers")
        eventually(lambda: not any(self.client.processing().values()), "idle Dask workers")

    def close(self) -> None:
        """End all of it."""
        self.client.close()
        self._cluster.close()
