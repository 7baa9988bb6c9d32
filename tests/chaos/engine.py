"""A Dask cluster for the soak."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def dask_cluster() -> Iterator[Any]:
    """Start a Dask cluster whose workers know the site; workers of ours find it by the environment."""
    from distributed import LocalCluster

    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    site_of_workers = {name: os.environ[name] for name in ("DJANGO_SETTINGS_MODULE", "DATABASE_URL")}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, env=site_of_workers, **options) as cluster:
        os.environ["TEST_DASK_ADDRESS"] = cluster.scheduler_address
        yield cluster
