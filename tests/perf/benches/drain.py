"""Drains: runs are stored while no worker runs; then one worker process is started."""

from __future__ import annotations

from tests.perf import contenders as who
from tests.perf.contenders import Contender
from tests.perf.measures import Measure, Peer, Play
from tests.perf.stage import RoundFailed, Stage
from tests.perf.stats import at_least


def drain(kind: str, runs: int, units: int = 1) -> Play:
    """Return a play whose figure is units per second, from the first handler's begin until all is seen stored.

    Args:
        kind: the flow.
        runs: how many; fewer for slow peers, since rates are compared.
        units: steps per run, where steps are counted.
    """

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry:
            entry.ask("start", kind=kind, count=runs)
            stage.settle_statistics(entry)
            with entry.worker():
                settled = entry.wait()
            if (succeeded := entry.ask("count")) != runs:
                raise RoundFailed(f"{contender.name}: {succeeded} of {runs} {kind} runs succeeded")
            return runs * units / (settled - entry.began())

    return play


MEASURES = (
    Measure(
        name="drain",
        title="10,000 single-step runs, synchronous handlers",
        unit="/s",
        play=drain("noop", 10_000),
        aim=at_least(5000),
        peers=(
            Peer(who.PROCRASTINATE, drain("noop", 3000), at_least(4)),
            Peer(who.DJANGO_TASKS_DB, drain("noop", 1500), at_least(9)),
            Peer(who.PGQUEUER, drain("noop", 10_000)),
            Peer(who.PGQUEUER_BATCH, drain("noop", 10_000)),
            Peer(who.DBOS, drain("noop", 1000)),
            Peer(who.CELERY, drain("noop", 3000)),
        ),
    ),
    Measure(
        name="drain_async",
        title="10,000 single-step runs, asynchronous handlers",
        unit="/s",
        play=drain("noop_async", 10_000),
        must=at_least(6000),
        aim=at_least(10_000),
        peers=(
            Peer(who.PROCRASTINATE, drain("noop_async", 3000)),
            Peer(who.PGQUEUER, drain("noop_async", 10_000)),
            Peer(who.PGQUEUER_BATCH, drain("noop_async", 10_000)),
        ),
    ),
    Measure(
        name="chain",
        title="1,000 runs of a 3-step chain, steps per second",
        unit="/s",
        play=drain("chain", 1000, units=3),
        aim=at_least(5000),
        peers=(
            Peer(who.DBOS, drain("chain", 400, units=3), at_least(8)),
            Peer(who.CELERY, drain("chain", 1000, units=3), at_least(4)),
        ),
    ),
    Measure(
        name="diamond",
        title="1,000 runs of a diamond (a, b and c, d), steps per second",
        unit="/s",
        play=drain("diamond", 1000, units=4),
        peers=(Peer(who.CELERY, drain("diamond", 1000, units=4), at_least(5)),),
    ),
    # The usual run has an input, and its steps return what others take.
    Measure(
        name="usual",
        title="2,000 runs of two steps with inputs and outputs, steps per second, against a chain that does nothing",
        unit="/s",
        play=drain("usual", 2000, units=2),
        peers=(Peer(who.OURS, drain("chain", 1000, units=3), at_least(0.5)),),
    ),
)
