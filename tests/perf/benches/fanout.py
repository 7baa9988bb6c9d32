"""Maps, and many starts in one call."""

from __future__ import annotations

import statistics

from tests.perf import contenders as who
from tests.perf.contenders import OURS, Contender
from tests.perf.measures import Measure, Peer, Play
from tests.perf.stage import Stage
from tests.perf.stats import Bound, at_most

TIMEOUT = 300.0
#: No slower than the peer, as far as the rounds can tell.
SAME = Bound(1.0, at_least=False, by_interval=True)


def mapping(items: int, repeat: int = 3, kind: str = "map") -> Play:
    """Return a play whose figure is the seconds from `start` until the reduce handler is done."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry, entry.worker():
            entry.ask("warm")
            values = entry.ask("probe", kind=kind, count=items, repeat=repeat, pause=0.2, timeout=TIMEOUT)
            return statistics.median(values)

    return play


def start_many(runs: int) -> Play:
    """Return a play whose figure is the seconds one call takes."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry:
            entry.ask("start", kind="noop", count=1)
            return statistics.median(entry.ask("start", kind="noop", count=runs) for _ in range(3))

    return play


MEASURES = (
    # Times are compared: three times as fast is a third of the time.
    Measure(
        name="map",
        title="a map of 1,000 items and a reduce, seconds",
        unit=" s",
        play=mapping(1000),
        aim=at_most(0.4),
        peers=(Peer(who.CELERY, mapping(1000), at_most(1 / 3)),),
    ),
    Measure(
        name="map.scaling",
        title="10,000 items against 1,000",
        unit=" s",
        play=mapping(10_000, repeat=1),
        peers=(Peer(OURS, mapping(1000), at_most(11)),),
    ),
    # The usual map is one over what a step returned: the worker makes its tasks, not the caller.
    *(
        Measure(
            name=f"map.of_step.{items}",
            title=f"a map of {items:,} items over a step's output against one over the input",
            unit=" s",
            play=mapping(items, repeat, "map_step"),
            peers=(Peer(OURS, mapping(items, repeat), bound),),
        )
        # its run has a step more, which of 1,000 items is two hundredths
        for items, repeat, bound in ((1000, 3, at_most(1.05)), (10_000, 1, SAME), (100_000, 1, SAME))
    ),
    *(
        Measure(
            name=f"map.of_step.scaling.{items}",
            title=f"a map over a step's output: {items:,} items against {items // 10:,}",
            unit=" s",
            play=mapping(items, 1, "map_step"),
            peers=(Peer(OURS, mapping(items // 10, 3, "map_step"), Bound(12, at_least=False, by_interval=True)),),
        )
        for items in (10_000, 100_000)
    ),
    Measure(
        name="map.start_many",
        title="start_many of 1,000 runs, seconds",
        unit=" s",
        play=start_many(1000),
        must=at_most(0.2),
    ),
)
