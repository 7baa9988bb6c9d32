"""The example project with one more app, for worker processes that tests start."""

import os

from example_project.settings import *  # noqa: F403  settings are built like this
from tests.lean import lean

INSTALLED_APPS = lean("tests.worker.site")
DJANGO_WORKFLOW = {
    "EXECUTORS": {
        "pool": "tests.worker.site.pools.processes",
        "dask": "tests.worker.site.engines." + os.environ.get("TEST_DASK_EXECUTOR", "dask"),
    }
}
