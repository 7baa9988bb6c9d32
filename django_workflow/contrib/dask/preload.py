"""Preload of a Dask worker: `dask worker --preload django_workflow.contrib.dask.preload` sets Django up at its start.

Without it the first handler of each worker process pays for that.
"""

from __future__ import annotations

import asyncio
from typing import Any

import django


async def dask_setup(worker: Any) -> None:
    """Set Django up, away from the worker's event loop: what runs in one may not use the database."""
    await asyncio.to_thread(django.setup)
