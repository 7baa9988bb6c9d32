"""Long loops and large graphs: what a pass costs at the end against the start, and a step among many against few."""

from __future__ import annotations

import statistics
import sys

from tests.perf.benches.drain import drain
from tests.perf.contenders import Contender, ours
from tests.perf.measures import Measure, Peer, Play
from tests.perf.stage import Entry, RoundFailed, Stage
from tests.perf.stats import at_least, at_most

PASSES = 10_000
WARM_UP = 200
#: Passes that are compared, after the warm-up and at the end.
COMPARED = 1_000
TIMEOUT = 600.0
#: Runs of a graph, one after the other; the middle one counts: the first one is also the first of its worker.
REPEAT = 5
#: As `benchsite.loops` makes it.
LAYERED_STEPS = 191

# seconds between the beginnings of two passes, in milliseconds
PASS_TIMES = f"""
    WITH passes AS (
        SELECT started_at, row_number() OVER (ORDER BY started_at) AS number FROM django_workflow_steprun
        WHERE step = '%s'
    ), times AS (
        SELECT number, 1000 * extract(epoch FROM lead(started_at, {COMPARED}) OVER (ORDER BY number) - started_at)
                       / {COMPARED} AS each
        FROM passes
    )
    SELECT (SELECT each FROM times WHERE number = {WARM_UP}),
           (SELECT each FROM times WHERE number = {PASSES - COMPARED})
"""
RUN_TIMES = "SELECT array_agg(extract(epoch FROM ended_at - started_at)::float8) FROM django_workflow_run"


def last_against_first(kind: str, step: str) -> Play:
    """Return a play whose figure is the time of one of the last passes by that of one of the first."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry:
            if kind.startswith("here."):
                entry.ask("start", kind=kind, count=1)
            else:
                drained(stage, entry, kind)
            first, last = stage.postgres.fetch(PASS_TIMES % step, entry.database)
            sys.stderr.write(f"{kind}: a pass takes {first:.2f} ms at the start, {last:.2f} ms at the end\n")
            return float(last / first)

    return play


def per_step(shape: str, size: int) -> Play:
    """Return a play whose figure is the milliseconds that a step takes in a graph of so many."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry:
            drained(stage, entry, f"{shape}_{size}", REPEAT)
            (seconds,) = stage.postgres.fetch(RUN_TIMES, entry.database)
            return 1000 * statistics.median(seconds) / size

    return play


def whole_run(kind: str) -> Play:
    """Return a play whose figure is the seconds that a run takes."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry:
            drained(stage, entry, kind, REPEAT)
            (seconds,) = stage.postgres.fetch(RUN_TIMES, entry.database)
            return float(statistics.median(seconds))

    return play


def drained(stage: Stage, entry: Entry, kind: str, repeat: int = 1) -> None:
    """Let one worker process do some runs, one after the other."""
    with entry.worker():
        for number in range(1, repeat + 1):
            entry.ask("start", kind=kind, count=1)
            entry.wait(TIMEOUT)
            if entry.ask("count") != number:
                raise RoundFailed(f"{kind} did not succeed\n{entry.log()}")


LOOPS = ours("ours", PERF_LOOPS="1")
MEASURES = (
    Measure(
        name="loop",
        title="a pass at the end of a 10,000-pass loop against one at its start",
        unit="",
        play=last_against_first("loop", "again"),
        must=at_most(1.3),
        ours=LOOPS,
    ),
    Measure(
        name="loop.join",
        title="the same where each pass forks and joins",
        unit="",
        play=last_against_first("join_loop", "meet"),
        must=at_most(1.3),
        ours=LOOPS,
    ),
    Measure(
        name="loop.here",
        title="a 10,000-pass loop in the calling process",
        unit="",
        play=last_against_first("here.loop", "again"),
        must=at_most(1.3),
        ours=LOOPS,
    ),
    Measure(
        name="loop.line",
        title="milliseconds per step in a chain of 1,000 steps against one of 100",
        unit=" ms",
        play=per_step("line", 1000),
        peers=(Peer(LOOPS, per_step("line", 100), at_most(1.3)),),
        ours=LOOPS,
    ),
    Measure(
        name="loop.fan",
        title="milliseconds per step in a fan of 998 and its join against one of 98",
        unit=" ms",
        play=per_step("fan", 1000),
        peers=(Peer(LOOPS, per_step("fan", 100), at_most(1.3)),),
        ours=LOOPS,
    ),
    Measure(
        name="loop.joins",
        title="seconds of a run with a join of 1,000 steps against one with ten joins of 100",
        unit=" s",
        play=whole_run("fan_1000"),
        peers=(Peer(LOOPS, whole_run("ten_fans"), at_most(1.5)),),
        ours=LOOPS,
    ),
    Measure(
        name="loop.layered",
        title="steps per second in 40 runs of a graph in layers against a chain of ten steps",
        unit="/s",
        play=drain("layered", 40, units=LAYERED_STEPS),
        peers=(Peer(LOOPS, drain("long_chain", 800, units=10), at_least(0.6)),),
        ours=LOOPS,
    ),
)
