"""Runs that the tests of the run page look at."""

from __future__ import annotations

import logging
from datetime import timedelta

from django_workflow import Retry, Skip, testing

ONCE = Retry(max_attempts=1)


def order_flow(make_flow, **options):
    """A flow with everything: a map, conditions, retries, a skipped branch, logs, and events of its own."""
    flow = make_flow("orders", title="Order fulfilment", **options)

    @flow.step
    def reserve(input, ctx):
        ctx.logger.info("reserving %d items", len(input["items"]))
        ctx.emit("stock_checked", {"items": len(input["items"])})
        return {"items": input["items"]}

    @flow.step(retry=Retry(max_attempts=4, base=timedelta(seconds=2), jitter=False))
    def charge(reserve, ctx):
        if ctx.attempt < 3:
            raise ConnectionError("the card provider is busy")
        return {"receipt": "r-17"}

    @flow.map(over="reserve.items", depends_on=["charge"], max_parallel=4, tolerate=0.5, retry=ONCE)
    def pack(item, ctx):
        logging.getLogger("shop.packing").warning("packing %s", item)
        if item == "broken":
            raise ValueError("item is broken")
        return {"packed": item}

    @flow.step(depends_on=["charge"], when="outputs.charge == None")
    def restock(input):
        return None

    @flow.step
    def ship(pack):
        return {"parcels": len(pack)}

    @flow.step(depends_on=["restock"])
    def notify(ship):
        return {"mails": 1}

    @flow.step(depends_on=["ship"])
    def survey(input):
        return Skip("customers are asked on Mondays")

    return flow


def rich_run(make_flow, items=12, **options):
    """A run of it that succeeded after retries, with a failed item."""
    flow = order_flow(make_flow)
    values = [f"item {number}" for number in range(items)]
    values[3:4] = ["broken"]
    handle = flow.start({"items": values}, title="Order 7 of Ann", by="shop", labels={"customer": "ann"}, **options)
    for _ in range(6):
        testing.run_until_idle()
        testing.advance(timedelta(seconds=30))
    return handle
