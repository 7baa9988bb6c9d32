"""Loops and large graphs, whose steps do nothing."""

import os
import random

import protocol

from django_workflow import Flow, Otherwise, When

PASSES = int(os.environ.get("PERF_PASSES", "10000"))
round_and_round = Flow("loop", max_iterations=2 * PASSES, vars={"count": 0}, output={"count": "vars.count"})
forks_and_joins = Flow("join_loop", max_iterations=2 * PASSES, max_tasks=8 * PASSES, entry=["fork"])

#: Graphs by their shape and how many steps they have.
GRAPHS = {(shape, size): Flow(f"{shape}_{size}") for shape in ("line", "fan") for size in (100, 1000)}

ten_fans = Flow("ten_fans")
layered = Flow("layered")

FLOWS = {flow.slug: flow for flow in (round_and_round, forks_and_joins, *GRAPHS.values(), ten_fans, layered)}


@round_and_round.step(next=[When(f"vars.count < {PASSES - 1}", to="again", publish={"count": "vars.count + 1"})])
def again(ctx):
    protocol.begin()
    return ctx.vars["count"]


def do_nothing():
    protocol.begin()


forks_and_joins.step(do_nothing, name="fork", next=["one", "other"])
forks_and_joins.step(do_nothing, name="one", next="meet")
forks_and_joins.step(do_nothing, name="other", next="meet")
forks_and_joins.step(
    do_nothing, name="meet", join="all", next=[When(f"iteration < {PASSES}", to="fork"), Otherwise("noop")]
)

for (shape, size), flow in GRAPHS.items():
    names = [f"step_{number}" for number in range(size)]
    for number, name in enumerate(names):
        if shape == "line" or number == 0:
            before = names[max(0, number - 1) : number]
        else:
            before = names[1:-1] if number == size - 1 else names[:1]
        flow.step(do_nothing, name=name, depends_on=before)

ten_fans.step(do_nothing, name="root")
for fan in range(10):
    names = [f"step_{fan}_{number}" for number in range(100)]
    for name in names:
        ten_fans.step(do_nothing, name=name, depends_on=["root"])
    ten_fans.step(do_nothing, name=f"join_{fan}", depends_on=names)

#: Steps in layers, each after up to four of the layer before it, as real processes have them: 191 in all.
chance = random.Random(7)
above: list[str] = []
for layer in range(20):
    names = [f"step_{layer}_{number}" for number in range(1 + 7 * layer % 19)]
    for name in names:
        layered.step(do_nothing, name=name, depends_on=chance.sample(above, min(len(above), chance.randint(1, 4))))
    above = names
