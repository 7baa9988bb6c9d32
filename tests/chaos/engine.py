"""A Dask cluster for the soak."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def dask_cluster() -> Iterator[Any]:
    """Start a Dask cluster whose workers know the site; workers of ours find it by the environment."""
    import dask
    from distributed import LocalCluster

    # a cluster gives up a worker that was killed and is not back after 15 s: here it is waited for
    dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"})
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    site_of_workers = {name: os.environ[name] for name in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, env=site_of_workers, **options) as cluster:
        os.environ["TEST_DASK_ADDRESS"] = cluster.scheduler_address
        yield cluster
