"""Flows whose steps run on an engine of the site's own; each begin of a handler leaves a row of `auth_group`."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group

from django_workflow import Flow, Retry
from tests.waiting import eventually

SOON = timedelta(milliseconds=10)
TRIES = Retry(max_attempts=3, base=SOON)


def tell_begin(what: str, which: object) -> None:
    """Tell of a begin; a second one of the same name has the next number."""
    for number in range(1, 100):
        _, is_new = Group.objects.get_or_create(name=f"{what} {which} #{number}")
        if is_new:
            return


def begins(what: str) -> int:
    """Return how many begins were told."""
    return Group.objects.filter(name__startswith=f"{what} ").count()


def go() -> None:
    """Let all that wait go on."""
    Group.objects.get_or_create(name="go")


def repeated() -> list[str]:
    """Return what began twice."""
    return list(Group.objects.filter(name__endswith=" #2").values_list("name", flat=True))


many = Flow("site_many", queue="heavy", executor="dask")


@many.map(over="input")
def measures(item):
    tell_begin("measures", item)
    return item * 2


slow = Flow("site_slow", queue="heavy", executor="dask", retry=TRIES)


@slow.map(over="input")
def waits(item, ctx):
    tell_begin("waits", f"{item}.{ctx.attempt}")
    eventually(lambda: Group.objects.filter(name="go").exists(), "a word from the test", seconds=60)
    return item


needing = Flow("site_gpu", queue="heavy", executor="dask", retry=TRIES)


@needing.map(over="input", resources={"GPU": 1})
def occupies(item, ctx):
    tell_begin("occupies", f"{item}.{ctx.attempt}")
    eventually(lambda: Group.objects.filter(name="go").exists(), "a word from the test", seconds=60)
    return item


impossible = Flow("site_impossible", queue="heavy", executor="dask", retry=TRIES)


@impossible.step(resources={"TPU": 1})
def needs_what_nobody_has():
    return None


sleeping = Flow("site_sleeping", queue="heavy", executor="dask", retry=Retry(max_attempts=1))


@sleeping.step(timeout=timedelta(seconds=1))
def sleeps_in_python(input):
    tell_begin("sleeps", input)
    until = time.monotonic() + 30
    try:
        while time.monotonic() < until:
            time.sleep(0.01)
    finally:
        tell_begin("woke", input)


deaf = Flow("site_deaf", queue="heavy", executor="dask", retry=Retry(max_attempts=1))


@deaf.step(timeout=timedelta(seconds=1))
def sleeps_in_c(input):
    tell_begin("sleeps", input)
    time.sleep(4)
    tell_begin("woke", input)
    return "too late"


odd = Flow("site_odd", queue="heavy", executor="dask", retry=Retry(max_attempts=1))


class OnlyThere(Exception):
    """An error that the worker need not know."""


@odd.step(on_exhausted="skip")
def too_large():
    return "x" * (5 * 1024 * 1024)


@odd.step(on_exhausted="skip")
def no_number():
    return math.nan


@odd.step(on_exhausted="skip")
def no_json():
    return lambda: None


@odd.step(on_exhausted="skip")
def raises():
    raise OnlyThere("half a pair: \ud800")


@odd.step
async def awaits():
    await asyncio.sleep(0)
    return "a coroutine"


breathing = Flow("site_breathing", queue="heavy", executor="dask", retry=Retry(max_attempts=1))


@breathing.step(timeout=timedelta(seconds=1))
async def awaits_for_ever(input):
    await sync_to_async(tell_begin)("sleeps", input)
    await asyncio.sleep(60)


grinding = Flow("site_grinding", queue="heavy", executor="dask", retry=Retry(max_attempts=10, base=SOON))


@grinding.map(over="input")
def grinds(item, ctx):
    tell_begin("grinds", f"{item}.{ctx.attempt}")
    time.sleep(0.2)
    return item


outliving = Flow("site_outliving", queue="heavy", executor="dask", retry=Retry(max_attempts=100, base=SOON, cap=SOON))


@outliving.map(over="input")
def outlives(item, ctx):
    tell_begin("outlives", f"{item}.{ctx.attempt}")
    eventually(lambda: Group.objects.filter(name="go").exists(), "a word from the test", seconds=60)
    return item
