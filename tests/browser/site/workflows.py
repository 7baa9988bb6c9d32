"""Flows for the browser: some stop at gates, one brings what no page may execute."""

from __future__ import annotations

import logging
import os
from datetime import timedelta

from django_workflow import Flow, Otherwise, Retry, To, When
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


review = Flow(
    "review", title="An article and its reviews", entry=["draft"], retry=ONCE,
    vars={"marks": 0}, output={"marks": "vars.marks"},
)  # fmt: skip


@review.step(next=["check", "proofread"])
def draft(ctx):
    return {"draft": ctx.iteration}


@review.step(
    next=[
        When("result.mark < 3", to="revise", publish={"marks": "vars.marks + result.mark"}),
        Otherwise(to="approve", publish={"marks": "vars.marks + result.mark"}),
        To("fail", on="failed"),
    ]
)
def check(ctx):
    gates().pass_through(f"check {ctx.iteration}")
    return {"mark": ctx.iteration}


@review.step(next=[To("approve", on="always")])
def proofread(ctx):
    return None


@review.step(next=[To("draft", delay=timedelta(milliseconds=200))])
def revise(ctx):
    return None


@review.step(join=2)
def approve(ctx):
    return {"marks": ctx.vars["marks"]}


watch = Flow("watch", title="Look until it is ready", entry=["probe"], retry=ONCE)


@watch.step(
    next=[
        When("result.is_ready", to="report", publish={"looks": "iteration"}),
        Otherwise(to="probe", publish={"looks": "iteration"}),
        To("fail", on="failed"),
    ]
)
def probe(ctx):
    gates().pass_through(f"look {ctx.iteration}")
    return {"is_ready": ctx.iteration >= 4}


@watch.step
def report(ctx):
    return {"looks": ctx.vars["looks"]}


counters = Flow("counters", title="Orders of three counters", entry=["mail", "phone", "desk"], retry=ONCE)


@counters.step(next=[To("take", publish={"counter": "'mail'"})])
def mail(ctx):
    return None


@counters.step(next=[To("take", publish={"counter": "'phone'"})])
def phone(ctx):
    return None


@counters.step(next=[To("take", publish={"counter": "'desk'"})])
def desk(ctx):
    return None


@counters.step(next=["bill", "pick"])
def take(ctx):
    return ctx.vars["counter"]


@counters.step(next=[When("vars.counter != 'gift'", to="hand_over"), Otherwise("noop")])
def bill(ctx):
    return None


@counters.step(next="hand_over")
def pick(ctx):
    if ctx.vars["counter"] == "desk":
        gates().pass_through("shelf")


@counters.step(join="all")
def hand_over(ctx):
    return ctx.vars["counter"]


#: The longest name that a flow may have, and a message of many lines.
LONGEST = ("a_slug_of_many_words_" * 7)[:128]
lengthy = Flow(LONGEST, title="Names and messages as long as they may be " * 4, retry=ONCE)


@lengthy.step(title="A step that needs many words to say what it does, and more to say why")
def step_of_a_long_name_that_goes_on_and_on_and_on(input):
    raise type("ErrorOfALongNameThatGoesOnAndOnAndOnAndOn", (Exception,), {})(
        "\n".join(f"{number}: {'x' * 40}" for number in range(40))
    )


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
