"""The example project with one more app, for worker processes that tests start."""

import os
from datetime import timedelta

from example_project.settings import *  # noqa: F403  settings are built like this
from tests.lean import lean

INSTALLED_APPS = lean("tests.worker.site")
DJANGO_WORKFLOW = {
    "EXECUTORS": {
        "pool": "tests.worker.site.pools.processes",
        "threads": "tests.worker.site.pools.threads",
        "dask": "tests.worker.site.engines." + os.environ.get("TEST_DASK_EXECUTOR", "dask"),
    }
}
if "TEST_STALL_LIMIT" in os.environ:
    DJANGO_WORKFLOW["STALL_LIMIT"] = timedelta(seconds=float(os.environ["TEST_STALL_LIMIT"]))
