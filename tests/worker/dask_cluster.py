"""A Dask cluster for tests: a scheduler in this process, workers in processes of their own, loopback only."""

from __future__ import annotations

import os
import signal
from typing import Any

import dask
from distributed import Client, LocalCluster

from tests.waiting import eventually
from tests.workers import database_url


def pids_of_running(cluster: LocalCluster) -> list[int]:
    """Return the process ids of the workers that may be killed: a nanny whose process dies while it starts gives up."""
    nannies = [nanny for nanny in cluster.workers.values() if nanny.process and nanny.process.status.name == "running"]
    return [nanny.pid for nanny in nannies if nanny.pid]


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

    def kill_one(self) -> int:
        """`kill -9` a worker, return its process id; its nanny starts another one."""
        eventually(lambda: pids_of_running(self._cluster), "a Dask worker that runs")
        pid = pids_of_running(self._cluster)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

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
