"""Flows whose handlers leave a trace: a row in the site's own table for each effect."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

from django.db import connection

from django_workflow import Flow, Retry
from tests.races.effects import RECORD

#: Handlers that must be caught while they run wait for this advisory lock, which a test holds.
GATE = 4711
PATIENT = Retry(max_attempts=20, base=timedelta(milliseconds=50), cap=timedelta(seconds=1))


def record(ctx: Any) -> None:
    """Leave a trace of a handler's run."""
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [ctx.run_id, ctx.step, ctx.index, ctx.attempt, os.getpid()])


def wait_at_the_gate() -> None:
    """Block until the test opens the gate."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s), pg_advisory_unlock_shared(%s)", [GATE, GATE])


# 8 tasks in a run: a chain, a map beside a branch, a join, and a step that is part of the site's transaction
chaos = Flow("chaos", retry=PATIENT)


@chaos.step
def first(input: Any, ctx: Any) -> Any:
    record(ctx)
    return input


@chaos.step
def second(first: Any, ctx: Any) -> list[Any]:
    record(ctx)
    return [first, first, first]


@chaos.map(over="second")
def each(item: Any, index: int, ctx: Any) -> int:
    record(ctx)
    return int(item) * 10 + index


@chaos.step
def beside(first: Any, ctx: Any) -> Any:
    record(ctx)
    return first


@chaos.step
def join(each: list[int], beside: Any, ctx: Any) -> list[Any]:
    record(ctx)
    return [*each, beside]


@chaos.step(atomic=True)
def book(join: list[Any], ctx: Any) -> list[Any]:
    record(ctx)
    return join


gated = Flow("gated")


@gated.step
def enter(ctx: Any) -> int:
    """Record the begin, wait at the gate, and tell who one is."""
    record(ctx)
    wait_at_the_gate()
    return os.getpid()


quick = Flow("quick")


@quick.step(name="quick")
def be_quick(ctx: Any) -> None:
    record(ctx)


killer = Flow("killer")


@killer.step
def kill(ctx: Any) -> None:
    """End the worker process, each time."""
    record(ctx)
    os.kill(os.getpid(), signal.SIGKILL)


# a deploy: old workers know only the first step of what new ones start
deploy = Flow("deploy")


@deploy.step
def known(ctx: Any) -> int:
    record(ctx)
    return 1


if os.environ.get("GENERATION") != "old":

    @deploy.step
    def added(known: int, ctx: Any) -> int:
        record(ctx)
        return known + 1
