"""Flows for the browser: some stop at gates, one brings what no page may execute."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

from django_workflow import Flow, Retry
from example_project import pace
from tests.browser.site.gates import VARIABLE, gates

ONCE = Retry(max_attempts=1)
#: What a visitor could send: each would leave a trace in `window.__pwned`, or open a dialog, if it were executed.
MALICE = (
    "<script>window.__pwned = 'script'</script>",
    "<img src=x onerror=\"window.__pwned = 'img'\">",
    '"><svg onload="window.__pwned = \'svg\'">',
    "' onmouseover='window.__pwned = 1' autofocus onfocus='window.__pwned = 1' x='",
    "</script></title></textarea></pre><script>alert('pwned')</script>",
    "javascript:window.__pwned='link'",
    "{{ 7|add:7 }}{% now 'Y' %}<iframe srcdoc=\"<script>parent.__pwned = 'frame'</script>\"></iframe>",
)
EVIL = " ".join(MALICE)

if VARIABLE in os.environ:  # in a process that a test has started: what is outside takes until the test opens its gate
    pace.take_time = lambda share=1.0: gates().pass_through("outside")

parcels = Flow("parcels", title="Parcels, of which some get lost", retry=ONCE)


@parcels.step
def collect(input):
    return list(range(input["count"]))


@parcels.map(over="collect", max_parallel=4)
def deliver(item, ctx):
    if item % 3 == 1 and not gates().is_open("road"):
        raise ConnectionError(f"the road to {item} is closed")
    ctx.logger.info("delivered %s", item)
    return item


@parcels.step
def count(deliver):
    return len(deliver)


chain = Flow("chain", title="Three steps, one after the other", retry=ONCE)


@chain.step
def first(input):
    gates().pass_through("first")
    return input


@chain.step
def second(first, ctx):
    ctx.logger.info("second begins")
    gates().pass_through("second")
    ctx.logger.info("second ends")
    return first


@chain.step
def third(second):
    gates().pass_through("third")
    return second


numbers = Flow("numbers", title="As many tasks as one asks for", retry=ONCE)


@numbers.map(over="input")
def each(item):
    return item


@numbers.step
def total(each):
    return sum(each)


evil = Flow("evil", title=MALICE[0] + MALICE[1], retry=Retry(max_attempts=2, base=timedelta(milliseconds=10)))


@evil.step
def echo(input, ctx):
    ctx.logger.info(EVIL)
    logging.getLogger(EVIL).warning(EVIL)
    return {EVIL: [EVIL, input]}


@evil.map(over="input.items")
def say_each(item, ctx):
    ctx.logger.error(EVIL)
    ctx.emit("told", {EVIL: EVIL})
    raise ValueError(EVIL)
