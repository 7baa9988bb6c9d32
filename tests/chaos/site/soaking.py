"""Flows of the soak: every executor, handlers that log all the time, fork, die, use up what their process has."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import resource
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async

from django_workflow import Flow, Retry, RetryAfter

PATIENT = Retry(max_attempts=30, base=timedelta(milliseconds=50), cap=timedelta(seconds=1))
SOON = timedelta(milliseconds=50)
ONCE = Retry(max_attempts=1)
log = logging.getLogger("soak")


def record(ctx: Any) -> None:
    """Leave a trace of a handler's run; imported late, for an executor's process may have no Django yet."""
    from tests.chaos.site.workflows import record as leave

    leave(ctx)


mixed = Flow("soak_mixed", retry=PATIENT)


@mixed.step(timeout=timedelta(seconds=5))
def in_thread(input: Any, ctx: Any) -> list[int]:
    record(ctx)
    return list(range(4))


@mixed.map(over="in_thread", timeout=timedelta(seconds=5))
async def in_loop(item: int, ctx: Any) -> int:
    await sync_to_async(record)(ctx)
    await asyncio.sleep(random.random() / 10)
    return item


@mixed.step(executor="process", timeout=timedelta(seconds=10))
def in_process(in_thread: list[int], ctx: Any) -> int:
    record(ctx)
    time.sleep(random.random() / 5)
    return len(in_thread)


@mixed.step(executor="pool", timeout=timedelta(seconds=30))
def in_pool(in_thread: list[int], ctx: Any) -> int:
    record(ctx)
    return len(in_thread)


@mixed.step(atomic=True)
def book(in_loop: list[int], in_process: int, in_pool: int, ctx: Any) -> int:
    record(ctx)
    return sum(in_loop) + in_process + in_pool


shouting = Flow("soak_shouting", retry=ONCE)


@shouting.map(count=6, timeout=SOON, tolerate=6)
def shout(ctx: Any) -> None:
    """Log without a pause until somebody ends it."""
    record(ctx)
    while True:
        log.warning("x")


@shouting.map(count=2, timeout=SOON, tolerate=2, executor="process")
def spin(ctx: Any) -> None:
    """Compute without a pause until somebody ends it."""
    while True:
        pass


@shouting.map(count=4, timeout=SOON, tolerate=4)
async def sleep(ctx: Any) -> None:
    """Sleep until somebody ends it."""
    await asyncio.sleep(600)


@shouting.step(atomic=True, retry=PATIENT, name="book")
def book_shouts(shout: Any, spin: Any, sleep: Any, ctx: Any) -> None:
    record(ctx)


nasty = Flow("soak_nasty", retry=PATIENT)


@nasty.step(executor="process", timeout=timedelta(seconds=20))
def orphans(input: Any, ctx: Any) -> str:
    """Fork what keeps everything open; now and then die, now and then come back twice."""
    record(ctx)
    if os.fork() == 0:
        time.sleep(5)
        os._exit(0)
    if random.random() < 0.3:
        os._exit(7)
    os.fork()
    return "parent"


@nasty.step
def hungry(input: Any, ctx: Any) -> str:
    """Leave no file descriptor to anybody in this process for a moment."""
    record(ctx)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(item.name) for item in Path("/proc/self/fd").iterdir())
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(highest + 1, limits[1]), limits[1]))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        time.sleep(0.3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
        for descriptor in taken:
            os.close(descriptor)
    return "full"


@nasty.step
async def ends_the_loop(input: Any, ctx: Any) -> str:
    """Stop the loop in which all coroutines of the process run."""
    await sync_to_async(record)(ctx)
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0.01)
    return "still here"


@nasty.step
def again(input: Any, ctx: Any) -> Any:
    record(ctx)
    return RetryAfter(timedelta(milliseconds=100)) if ctx.attempt < 3 else ctx.attempt


@nasty.step(atomic=True, name="book")
def book_nasty(orphans: str, hungry: str, ends_the_loop: str, again: Any, ctx: Any) -> None:
    record(ctx)
