"""Executors of the site's own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor


def processes() -> ProcessPoolExecutor:
    """Return a pool of processes that start afresh: a forked one would share our database connections."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def threads() -> ThreadPoolExecutor:
    """Return a pool of threads."""
    return ThreadPoolExecutor(2)
