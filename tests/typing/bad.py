"""Mistakes that a type checker finds; the comment at the end of a line says which."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django_workflow import Flow, FlowBuilder, Otherwise, Retry, RunHandle, StoredStep, To, When, acancel, cancel, retry

orders = Flow("orders", timeout=30)  # error: arg-type
Flow("orders", titel="Orders")  # error: call-arg


@orders.step(timeout=5)  # error: arg-type
def seconds(input: Any) -> None: ...


@orders.step(on_exhausted="skpi")  # error: arg-type
def exhausted(input: Any) -> None: ...


@orders.step(on_unmet="cascade")  # error: arg-type
def unmet(input: Any) -> None: ...


@orders.step(retries=3)  # error: call-arg
def unknown(input: Any) -> None: ...


@orders.step(retry=3)  # error: arg-type
def policy(input: Any) -> None: ...


@orders.step(retry=Retry(max_attempt=3))  # error: call-arg
def attempts(input: Any) -> None: ...


@orders.step(match="any")  # error: arg-type
def matching(input: Any) -> None: ...


@orders.step(join="any")  # error: arg-type
def joining(input: Any) -> None: ...


@orders.step(delay=60)  # error: arg-type
def later(input: Any) -> None: ...


@orders.step(next=[To("seconds", on="done")])  # error: arg-type
def outcome(input: Any) -> None: ...


@orders.step(next=When("result.ready", "seconds", delay=1.5))  # error: arg-type
def soon(input: Any) -> None: ...


@orders.step(next=[Otherwise("later", on="fail")])  # error: arg-type
def ways(input: Any) -> None: ...


@orders.step(when=True)  # error: arg-type
def condition(input: Any) -> None: ...


@orders.step(over="policy")  # error: call-arg
def single(input: Any) -> None: ...


@orders.map(over=["policy"])  # error: arg-type
def several(item: Any) -> None: ...


@orders.map(count=3, max_parallel="20")  # error: arg-type
def parallel(index: int) -> None: ...


@orders.map(over="policy", timeout=30)  # error: arg-type
def items(item: Any) -> None: ...


@orders.step(retry=Retry(base=2, strategy="quadratic"))  # error: arg-type, arg-type
def growing(input: Any) -> None: ...


@orders.step(name="named")
def typed(input: dict[str, Any]) -> int:
    return 1


typed("text")  # error: arg-type
text: str = typed({})  # error: assignment
orders.start({}, delay=60)  # error: arg-type
orders.execute({}, timeout=5)  # error: arg-type
FlowBuilder.add_step("stored", "fetch", timeout=5)  # error: arg-type
FlowBuilder.add_step("stored", "fetch", tiemout=timedelta(seconds=5))  # error: call-arg
FlowBuilder.add_map_step("stored", "each", over="fetch", on_exhausted="skpi")  # error: arg-type
FlowBuilder.add_steps("stored", [{"name": "fetch", "timeout": 5}])  # error: typeddict-item
FlowBuilder.add_steps("stored", [{"name": "fetch", "tiemout": timedelta(seconds=5)}])  # error: typeddict-unknown-key
FlowBuilder.create_flow("stored", steps=[{"handler": "fetch"}])  # error: typeddict-item
FlowBuilder.create_flow("stored", steps=[StoredStep(name="fetch", on_exhausted="skpi")])  # error: typeddict-item


async def act(handle: RunHandle) -> None:
    cancel(handle, raeson="wrong")  # error: call-arg
    retry(handle, "all", "pay")  # error: call-arg
    await acancel(handle, reason=7)  # error: arg-type
    await handle.apause(7)  # error: arg-type
    await handle.aretry(from_stpe="pay")  # error: call-arg
    await orders.astart(titel="Again")  # error: call-arg
