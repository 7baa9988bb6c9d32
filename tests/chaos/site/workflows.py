"""Flows whose handlers leave a trace: a row in the site's own table for each effect."""

from __future__ import annotations

import os
import signal
from datetime import timedelta
from typing import Any

from django.db import connection

from django_workflow import Flow, Otherwise, Retry, When
from tests.chaos.site import soaking  # noqa: F401  its flows are found with this module
from tests.races.effects import RECORD

if "TEST_DASK_ADDRESS" in os.environ:
    # imported when the site starts, before a handler uses up the descriptors that an import needs
    pass

#: Handlers that must be caught while they run wait for this advisory lock, which a test holds.
GATE = 4711
PATIENT = Retry(max_attempts=20, base=timedelta(milliseconds=50), cap=timedelta(seconds=1))


def record(ctx: Any) -> None:
    """Leave a trace of a handler's run."""
    _record(ctx, ctx.index)


def record_pass(ctx: Any) -> None:
    """Leave a trace of a handler's run, by the pass it is of instead of the item."""
    _record(ctx, ctx.iteration)


def _record(ctx: Any, index: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [ctx.run_id, ctx.step, index, ctx.attempt, os.getpid()])


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


def stop_once(input: Any, ctx: Any) -> None:
    """Record the begin; where the input names this step and pass, its first attempt waits at the gate."""
    record_pass(ctx)
    if input == f"{ctx.step}:{ctx.iteration}" and ctx.attempt == 1:
        wait_at_the_gate()


# each pass forks and joins, twice: with all, and with the first two of three, whose third one comes late; what is
# atomic is recorded in the transaction that settles it
PASSES = 12
rounds = Flow("rounds", entry=["begin"], retry=PATIENT, vars={"rounds": 0}, output={"rounds": "vars.rounds"})
rounds.step(name="begin", next=["left", "right"])(stop_once)
rounds.step(name="left", next="longer")(stop_once)
rounds.step(name="longer", next="meet")(stop_once)
rounds.step(name="right", next="meet")(stop_once)
rounds.step(name="meet", join="all", atomic=True, next=["one", "two", "three"])(stop_once)
for name in ("one", "two", "three"):
    rounds.step(name=name, next="quorum")(stop_once)
rounds.step(
    name="quorum", join=2, atomic=True,
    next=[When(f"iteration < {PASSES}", to="begin", publish={"rounds": "iteration"}), Otherwise("done")],
)(stop_once)  # fmt: skip
rounds.step(name="done")(stop_once)

# two diamonds without joins in a row: what stands below them runs twice and four times, each with a join of its own
splits = Flow("splits", retry=PATIENT)
splits.step(name="begin", next=["b", "c"])(stop_once)
splits.step(name="b", next="twice")(stop_once)
splits.step(name="c", next="twice")(stop_once)
splits.step(name="twice", next=["d", "e"])(stop_once)
splits.step(name="d", next="meet")(stop_once)
splits.step(name="e", next="meet")(stop_once)
splits.step(name="meet", join="all", atomic=True, next=["f", "g"])(stop_once)
splits.step(name="f", next="often")(stop_once)
splits.step(name="g", next="often")(stop_once)
splits.step(name="often", next=["h", "i"])(stop_once)
splits.step(name="h", next="gather")(stop_once)
splits.step(name="i", next="gather")(stop_once)
splits.step(name="gather", join="all", atomic=True)(stop_once)


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
