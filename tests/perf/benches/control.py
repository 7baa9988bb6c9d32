"""What control costs: events stored, queues paused, runs that somebody holds."""

from __future__ import annotations

import re
import time

from tests.perf.benches.cost import IDLE_SECONDS, LOG_PREFIX, STATEMENT
from tests.perf.benches.drain import drain
from tests.perf.contenders import Contender, ours
from tests.perf.measures import Measure, Peer, Play
from tests.perf.stage import RoundFailed, Stage
from tests.perf.stats import at_least, at_most, reaches

PAUSED = 10_000
HOLD_SECONDS = 3.0
HELD_AMONG = 20_000
PAUSE = "UPDATE django_workflow_queue SET paused_at = clock_timestamp() WHERE name = 'default'"
HOLD = """
    SELECT id FROM django_workflow_run
    WHERE id = (SELECT id FROM django_workflow_run ORDER BY id LIMIT 1 OFFSET 1000) FOR NO KEY UPDATE
"""
UNSETTLED = "SELECT count(*) FROM django_workflow_run WHERE status IN ('scheduled', 'running', 'paused')"
LAST_END = "SELECT extract(epoch FROM clock_timestamp() - max(ended_at))::float8 FROM django_workflow_run"
#: Seconds between two looks; each walks over all rows that changed while the request is open, and so must be rare.
LOOK = 0.5
LOST = "SELECT count(*) FROM django_workflow_attempt"


def statements_while_paused(stage: Stage, contender: Contender) -> float:
    """Statements per second of a worker whose only queue is paused and holds 10,000 tasks."""
    logged = stage.postgres.configured(log_statement="all", log_line_prefix=LOG_PREFIX)
    with logged, stage.enter(contender) as entry:
        entry.ask("start", kind="noop", count=PAUSED)
        stage.postgres.execute(PAUSE, entry.database)
        with entry.worker():
            time.sleep(3)
            start = stage.postgres.log.stat().st_size
            time.sleep(IDLE_SECONDS)
            with stage.postgres.log.open("rb") as log:
                log.seek(start)
                lines = log.read().decode(errors="replace")
        if (begun := entry.ask("count")) != 0:
            raise RoundFailed(f"{begun} runs of a paused queue were executed")
    return len(re.findall(STATEMENT.format(database=re.escape(entry.database)), lines, re.MULTILINE)) / IDLE_SECONDS


def rate_of_the_others(*, is_held: bool) -> Play:
    """Return a play: runs per second of all but one run, whose row a transaction holds, or does not."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry, stage.postgres.connect(entry.database) as request:
            entry.ask("start", kind="noop", count=HELD_AMONG)
            stage.settle_statistics(entry)
            request.autocommit = False
            if is_held:
                request.execute(HOLD)
            with entry.worker():
                while stage.postgres.fetch(UNSETTLED, entry.database)[0] > 1:
                    time.sleep(LOOK)
                ago = stage.postgres.fetch(LAST_END, entry.database)[0]
                seconds = time.clock_gettime(time.CLOCK_MONOTONIC) - ago - entry.began()
                # a lease is 2 s here: a heartbeat that waited for the request would lose the task it holds
                time.sleep(max(0.0, HOLD_SECONDS - seconds))
                request.rollback()
                entry.wait()
            if (lost := stage.postgres.fetch(LOST, entry.database)[0]) != 0:
                raise RoundFailed(f"heartbeats came too late for {lost} tasks")
            return (HELD_AMONG - 1) / seconds

    return play


SHORT_LEASE = {"PERF_LEASE": "2"}
MEASURES = (
    Measure(
        name="control.events",
        title="10,000 single-step runs with events of steps stored, against those of runs only",
        unit="/s",
        play=drain("noop", 10_000),
        peers=(Peer(ours("ours, level run", PERF_EVENT_LEVEL="run"), drain("noop", 10_000), reaches(0.9)),),
    ),
    Measure(
        name="control.paused",
        title="statements per second of a worker whose queue is paused and holds 10,000 tasks",
        unit="/s",
        play=statements_while_paused,
        must=at_most(2),
    ),
    Measure(
        name="control.held",
        title="20,000 runs while a request holds one of them for 3 s, against nobody holding any",
        unit="/s",
        play=rate_of_the_others(is_held=True),
        peers=(Peer(ours("ours, none held", **SHORT_LEASE), rate_of_the_others(is_held=False), at_least(0.9)),),
        ours=ours("ours", **SHORT_LEASE),
    ),
)
