"""Flows that run in processes of their own; what they did is told by rows of `auth_group`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection

from django_workflow import Fail, Flow, Retry, RetryAfter, Skip
from tests.waiting import eventually
from tests.worker.site import alive, heavy  # noqa: F401  their flows are found with this module
from tests.worker.site.leaving import leave
from tests.worker.site.telling import tell, told

SOON = timedelta(milliseconds=10)


quick = Flow("site_quick")


@quick.step
def first(input):
    return os.getpid()


@quick.map(over="input")
def each(item):
    tell("each")
    return item * 2


@quick.step
def last(first, each):
    return [first, sum(each)]


patient = Flow("site_patient", queue="patient")


@patient.step
def waits(input):
    """Wait until the test says go."""
    tell("began")
    eventually(lambda: told("go"), "a word from the test", seconds=30)
    tell("finished")
    return input


stubborn = Flow("site_stubborn", queue="stubborn")


@stubborn.step
def never_ends():
    tell("began")
    time.sleep(60)


apart = Flow("site_apart", executor="process", retry=Retry(max_attempts=2, base=SOON))


@apart.step
def describes(input, ctx):
    ctx.emit("told", {"by": "the child"})
    ctx.logger.warning("from the child")
    return [os.getpid(), input, ctx.attempt, str(ctx.run_id), ctx.idempotency_key, ctx.step]


@apart.step
def reads(describes, ctx):
    return [describes[0] == ctx.output("describes")[0], ctx.skipped("describes")]


@apart.step
async def awaits(input):
    await asyncio.sleep(0)
    return os.getpid()


outcomes = Flow("site_outcomes", executor="process", retry=Retry(max_attempts=2, base=SOON))


@outcomes.step(on_exhausted="skip")
def raises():
    raise LookupError("in the child")


@outcomes.step(on_exhausted="skip")
def gives_up():
    return Fail("no use")


@outcomes.step
def skips():
    return Skip("not today")


@outcomes.step
def comes_back():
    return RetryAfter(SOON) if is_first("comes_back") else "back"


def is_first(what):
    """Say so once; the number of an attempt does not tell, for one that did not begin in time counts, too."""
    return Group.objects.get_or_create(name=what)[1]


@outcomes.step(on_exhausted="skip")
def gives_no_json():
    return {1, 2}


@outcomes.step
def dies_once():
    if is_first("dies_once"):
        os._exit(7)
    return "alive"


endless = Flow("site_endless", executor="process", retry=Retry(max_attempts=1))


@endless.step(timeout=timedelta(seconds=0.5))
def holds_the_gil(ctx):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    tell(f"grandchild {child.pid}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


spinning = Flow("site_spinning", executor="process", retry=Retry(max_attempts=1))


@spinning.step
def goes_on(ctx):
    ctx.logger.info("it goes on")
    tell(f"spins {os.getpid()}")
    while True:
        pass


pooled = Flow("site_pooled", executor="pool")


@pooled.step
def in_the_pool(input):
    return [os.getpid(), Group.objects.filter(pk=0).count(), input]


breaking = Flow("site_breaking", executor="pool", retry=Retry(max_attempts=3, base=SOON))


@breaking.step
def breaks_its_pool(ctx):
    if ctx.attempt == 1:
        os._exit(7)
    return "alive"


leaving = Flow("site_leaving", executor="process")


def leave_all() -> list[object]:
    """Return what is there, and leave something else behind: in the context and in the database's session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('search_path')")
        (path,) = cursor.fetchone()
        cursor.execute("SET search_path TO pg_catalog")
    return [os.getpid(), [leave(), path]]


@leaving.map(count=3)
def plain():
    return leave_all()


@leaving.map(count=3)
async def coroutine():
    return await sync_to_async(leave_all)()


echo = Flow("site_echo")


@echo.step(executor="process")
def gives(input):
    return input


broken = Flow("site_broken", executor="process")


@broken.step(retry=Retry(max_attempts=1))
def breaks(input):
    raise ValueError(f"card {input['card']}")
