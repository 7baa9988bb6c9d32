"""Executors of the site's own that reach a Dask cluster, whose address the test tells by the environment."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

ADDRESS = "TEST_DASK_ADDRESS"
#: Clients that nobody but a test closes.
opened: list[Any] = []


def plain_dask() -> Any:
    """Return Dask's own executor."""
    from distributed import Client

    opened.append(Client(os.environ[ADDRESS], set_as_default=False))
    return opened[-1].get_executor(pure=False)


def dask() -> Any:
    """Return the executor of this package."""
    from django_workflow.contrib.dask import DaskExecutor

    slots = os.environ.get("TEST_DASK_SLOTS")
    return DaskExecutor(os.environ[ADDRESS], resource_wait=timedelta(seconds=2), slots=int(slots) if slots else "auto")
