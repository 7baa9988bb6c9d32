"""Flows as users write them: a type checker has nothing to say about them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django_workflow import (
    Context,
    Fail,
    Flow,
    FlowBuilder,
    Otherwise,
    Retry,
    RunHandle,
    RunResult,
    Skip,
    StoredStep,
    To,
    When,
    acancel,
    await_,
    cancel,
    dead_letters,
    retry,
)

orders = Flow("orders", title="Orders", max_duration=timedelta(hours=1), retry=Retry(max_attempts=5), queue="orders")


@orders.step
def reserve(input: dict[str, Any]) -> list[str]:
    return [str(item) for item in input["items"]]


@orders.step()
def price(reserve: list[str]) -> int:
    return len(reserve)


@orders.step(
    name="pay",
    title="Charge the card",
    retry=Retry(
        max_attempts=3,
        strategy="linear",
        base=timedelta(seconds=2),
        factor=2,
        cap=timedelta(minutes=1),
        jitter=False,
        retry_on=(OSError,),
    ),
    timeout=timedelta(seconds=30),
    queue="payments",
    executor="process",
    resources={"GPU": 1},
    when="outputs.price > 0",
    on_unmet="skip_cascade",
    on_exhausted="fail",
    delay="outputs.price * 2",
    next=["ship", To("restock", on="failed"), Otherwise("noop", publish={"paid": True})],
    match="first",
)
def charge(price: int, ctx: Context) -> dict[str, Any] | Fail | Skip:
    ctx.heartbeat(progress=0.5)
    return {"paid": price}


def is_large(outputs: dict[str, Any]) -> bool:
    return bool(outputs["price"] > 1000)


@orders.step(depends_on=["price"], when=is_large, atomic=True, join="all", delay=timedelta(minutes=1), timeout=None)
def ask(ctx: Context) -> None: ...


@orders.step(depends_on="price", join=None, next=When(is_large, "noop", delay=timedelta(seconds=1)))
async def ship() -> str:
    return "sent"


@orders.map(over="reserve", max_parallel=20, tolerate=0.1, on_exhausted="skip")
def pack(item: str, index: int) -> str:
    return f"{index}: {item}"


@orders.map(count=3, arguments={"factor": "vars.factor", "limit": 5}, next=("ship", To(["restock", "noop"])))
def draw(index: int, factor: int, limit: int) -> int:
    return index * factor


def restock(ctx: Context) -> None: ...


# without decorating: the function is what it was
same: Callable[[Context], None] = orders.step(restock)
named: Callable[[Context], None] = orders.step(restock, name="restock_again", join=1)

# a decorated function is the function, with its own types
total: int = price(["one"])
line: str = pack("one", 0)

backoff = Retry(strategy=lambda failures: timedelta(seconds=failures))
handle: RunHandle = orders.start({"items": []}, delay=timedelta(minutes=1), labels={"shop": "north"})
result: RunResult = orders.execute({"items": []}, timeout=timedelta(seconds=5))

again: RunHandle = retry(handle, "all", input={"items": []}, version="latest", by="ada")
RunHandle.cancel(again, reason="wrong").retry(from_step="pay")
numbers: list[int] = [letter.task_id for letter in dead_letters(flow="orders", limit=5)]


async def ask_again() -> RunResult:
    started = await orders.astart({"items": []}, title="Again")
    await started.apause(reason="wait", by="ada")
    await acancel(run=str(started.id), reason="wrong")
    return await await_(cancel(run=started), timeout=5)


FlowBuilder.create_flow("measures", timeout=timedelta(seconds=5))
FlowBuilder.add_step("measures", "fetch", handler="measures.fetch", retry=Retry(max_attempts=2), next=["report"])
FlowBuilder.add_map_step("measures", "each", over="fetch", tolerate=2, when={"callable": "measures.are_complete"})

steps: list[StoredStep] = [{"name": "fetch", "handler": "measures.fetch", "timeout": timedelta(seconds=5)}]
steps.append(StoredStep(name="report", depends_on=["fetch"], retry=Retry(max_attempts=2), next=To("noop")))
FlowBuilder.create_flow("measured", title="Measured", steps=[*steps, {"name": "each", "over": "fetch", "tolerate": 2}])
FlowBuilder.add_steps("measured", ({"name": f"more_{number}", "depends_on": "fetch"} for number in range(3)))
