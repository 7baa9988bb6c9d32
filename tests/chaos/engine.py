"""A Dask cluster for the soak: workers that are killed, and started again as a supervisor does."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.races.workers import ROOT

WORKERS = 2


class DaskCrew:
    """Dask workers of one thread each, in processes of their own.

    address: the scheduler's. environ: what tells them which site they serve.
    """

    def __init__(self, address: str, environ: dict[str, str]) -> None:
        self.address = address
        self._environ = environ
        self._workers = [self._start() for _ in range(WORKERS)]

    def _start(self) -> subprocess.Popen[bytes]:
        worker = [sys.executable, "-m", "dask", "worker", self.address, "--no-nanny", "--nthreads", "1"]
        more = ["--no-dashboard", "--preload", "django_workflow.contrib.dask.preload", "--death-timeout", "60"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environ: dict[str, Any] = {**os.environ, **self._environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([*worker, *more], cwd=ROOT, env=environ, **quiet)

    def kill_one(self, dice: random.Random) -> None:
        """`kill -9` one of them."""
        dice.choice(self._workers).kill()

    def replace_dead(self) -> int:
        """Start a worker for each that has ended; return how many."""
        dead = [number for number, worker in enumerate(self._workers) if worker.poll() is not None]
        for number in dead:
            self._workers[number] = self._start()
        return len(dead)

    def close(self) -> None:
        """End them all."""
        for worker in self._workers:
            worker.kill()
            worker.wait()


@contextmanager
def dask_crew() -> Iterator[DaskCrew]:
    """Start a Dask cluster whose workers know the site; workers of ours find it by the environment."""
    from distributed import LocalCluster

    options: dict[str, Any] = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=0, **options) as cluster:
        environ = {name: os.environ[name] for name in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")}
        crew = DaskCrew(cluster.scheduler_address, environ)
        os.environ["TEST_DASK_ADDRESS"] = crew.address
        try:
            yield crew
        finally:
            crew.close()
