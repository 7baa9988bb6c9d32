"""Settings of the site whose workers are killed: the example project's, with handlers that record what they did."""

import os
from datetime import timedelta

from example_project.settings import *  # noqa: F403
from tests.lean import lean

POOL = "tests.worker.site.engines.dask" if "TEST_DASK_ADDRESS" in os.environ else "tests.worker.site.pools.processes"
INSTALLED_APPS = lean("tests.chaos.site")
DJANGO_WORKFLOW = {
    # so that a rolling deploy takes no half minute
    "UNKNOWN_HANDLER_DELAY": timedelta(seconds=0.3),
    "EXECUTORS": {"pool": POOL},
}
