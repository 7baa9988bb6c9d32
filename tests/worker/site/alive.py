"""Flows that a worker must outlive: they log all the time, never end, fork, or use up what the process has."""

from __future__ import annotations

import logging
import os
import resource
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django_workflow import Flow, Retry, condition
from django_workflow.models import Attempt
from tests.waiting import eventually
from tests.worker.site.telling import tell

SOON = timedelta(milliseconds=10)

log = logging.getLogger("shop.shouting")
#: A logger whose records no handler of the root logger gets.
apart_log = logging.getLogger("shop.apart")
apart_log.propagate = False
apart_log.addHandler(logging.FileHandler(os.devnull, delay=True))
apart_log.setLevel(logging.INFO)

shouting = Flow("site_shouting", queue="shouting", retry=Retry(max_attempts=1))


@shouting.map(count=32, timeout=timedelta(seconds=0.05), tolerate=32)
def shouts(index):
    """Log without a pause, until it is told to stop."""
    while True:
        log.warning("x")


@shouting.map(count=32, timeout=timedelta(seconds=0.05), tolerate=32)
def shouts_apart(index):
    while True:
        apart_log.info("x")


def never(**_):
    """Judge for ever; what it tells is a file, for it may be asked in a transaction."""
    Path(os.environ["TEST_JUDGES"]).touch()
    time.sleep(600)


hanging = Flow("site_hanging", queue="hanging")


@hanging.step
def before():
    return 1


@hanging.step(depends_on=["before"], when=condition("site_never")(never))
def after():
    return 2


orphaning = Flow("site_orphaning", executor="process", retry=Retry(max_attempts=1))


@orphaning.step(on_exhausted="skip")
def leaves_an_orphan():
    """Die while what was forked lives, and has open whatever this process has."""
    if (orphan := os.fork()) == 0:
        time.sleep(120)
        os._exit(0)
    tell(f"orphan {orphan}")
    os._exit(7)


@orphaning.step
def next_one(leaves_an_orphan):
    return os.getpid()


forking = Flow("site_forking", retry=Retry(max_attempts=1))


@forking.map(count=2)
def forks(ctx):
    """Come back twice: as the process that was called, and as another one."""
    caller = os.getpid()
    if (other := os.fork()) != 0:
        tell(f"fork {other}")
    return os.getpid() == caller


using_up = Flow("site_using_up", queue="using_up")


@using_up.step
def uses_up_descriptors():
    """Leave no file descriptor to anybody in this process until an attempt has failed by that."""
    tell("begins")  # over a connection that is there from now on
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(item.name) for item in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        tell("used up")
        eventually(lambda: Attempt.objects.filter(error_class="OSError").exists(), "an attempt that fails", seconds=30)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    return "given back"


needing = Flow("site_needing", queue="using_up", executor="process", retry=Retry(max_attempts=100, base=SOON, factor=1))


@needing.step
def needs_descriptors():
    return "ran"


pool_forever = Flow("site_pool_forever", queue="forever", executor="threads")


@pool_forever.step
def never_comes_back():
    tell("in the pool")
    time.sleep(600)
