"""The flows that are measured: handlers do nothing, or write down that they are here, or take their time."""

import os
import time

import protocol

from django_workflow import Flow

BUSY_ITEMS = int(os.environ.get("PERF_BUSY_ITEMS", "1000"))

noop = Flow("noop")
noop_async = Flow("noop_async")
chain = Flow("chain")
long_chain = Flow("long_chain")
diamond = Flow("diamond")
mark = Flow("mark")
mark_chain = Flow("mark_chain")
mapped = Flow("map", max_tasks=200_000)
mapped_step = Flow("map_step", max_tasks=200_000)
usual = Flow("usual")
busy = Flow("busy")
steady = Flow("steady")

FLOWS = {
    "noop": noop,
    "noop_async": noop_async,
    "chain": chain,
    "long_chain": long_chain,
    "diamond": diamond,
    "mark": mark,
    "mark_chain": mark_chain,
    "map": mapped,
    "map_step": mapped_step,
    "usual": usual,
    "busy": busy,
    "steady": steady,
}


@noop.step
def only(input):
    protocol.begin()


@noop_async.step
async def only_async(input):
    protocol.begin()


@chain.step
def chain_a(input):
    protocol.begin()


@chain.step
def chain_b(chain_a):
    protocol.begin()


@chain.step
def chain_c(chain_b):
    protocol.begin()


def step_of_long_chain():
    protocol.begin()


for number in range(10):
    before = [f"step_{number - 1}"] if number else []
    long_chain.step(step_of_long_chain, name=f"step_{number}", depends_on=before)


@diamond.step
def top(input):
    protocol.begin()


@diamond.step
def left(top):
    protocol.begin()


@diamond.step
def right(top):
    protocol.begin()


@diamond.step
def bottom(left, right):
    protocol.begin()


@mark.step
def only_mark(input):
    protocol.mark()


@mark_chain.step
def mark_a(input):
    protocol.begin()


@mark_chain.step
def mark_b(mark_a):
    protocol.begin()


@mark_chain.step
def mark_c(mark_b):
    protocol.mark()


@mapped.map(over="input")
def each(item):
    return item


@mapped.step
def join(each):
    total = sum(each)
    protocol.mark()
    return total


@mapped_step.step
def items(input):
    return list(range(input))


@mapped_step.map(over="items")
def each_of_items(item):
    return item


@mapped_step.step
def join_of_items(each_of_items):
    total = sum(each_of_items)
    protocol.mark()
    return total


@usual.step
def receive(input):
    protocol.begin()
    return {"order": input["order"], "note": input["note"], "lines": [1, 2, 3]}


@usual.step
def confirm(receive, ctx):
    protocol.begin()
    return {"order": receive["order"], "sent": True}


@busy.map(count=BUSY_ITEMS)
def busy_item(index):
    protocol.begin()


@steady.map(count=BUSY_ITEMS)
def steady_item(index):
    protocol.begin()
    time.sleep(0.02)


if os.environ.get("PERF_LOOPS"):
    # thousands of steps, which every worker of the site would compile; a tree of an earlier time knows no transitions
    from benchsite import loops

    FLOWS |= loops.FLOWS
