"""Latency of an idle system: single starts, with pauses between them."""

from __future__ import annotations

import statistics

from tests.perf import contenders as who
from tests.perf.contenders import Contender
from tests.perf.measures import Measure, Peer, Play
from tests.perf.stage import Stage
from tests.perf.stats import Bound, at_most

STARTS_PER_ROUND = 20  # 100 in five rounds
PAUSE = 0.05
TIMEOUT = 30.0


def latency(kind: str) -> Play:
    """Return a play whose figure is the median in milliseconds from `start` to the (last) handler's first line."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry, entry.worker():
            entry.ask("warm")
            values = entry.ask("probe", kind=kind, count=1, repeat=STARTS_PER_ROUND, pause=PAUSE, timeout=TIMEOUT)
            return statistics.median(values) * 1000

    return play


MEASURES = (
    Measure(
        name="latency",
        title="idle: start to the handler's first line, median",
        unit=" ms",
        play=latency("mark"),
        aim=at_most(3),
        peers=(
            Peer(who.CELERY, latency("mark"), at_most(1.3)),
            Peer(who.PGQUEUER, latency("mark"), Bound(1.0, at_least=False)),
        ),
    ),
    Measure(
        name="latency.chain",
        title="idle: start to the last handler of a 3-step chain, median",
        unit=" ms",
        play=latency("mark_chain"),
        aim=at_most(7),
        peers=(Peer(who.CELERY, latency("mark_chain"), at_most(1.3)),),
    ),
)
