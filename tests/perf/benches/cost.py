"""What work costs the database: rows and WAL per step, statements of an idle worker."""

from __future__ import annotations

import re
import time
from typing import Literal

from tests.perf.contenders import Contender
from tests.perf.measures import Measure, Play
from tests.perf.servers import Postgres
from tests.perf.stage import Stage
from tests.perf.stats import at_most

RUNS = 1000
IDLE_SECONDS = 10.0

# Every table of the database, those of pgmq included.
ROWS_WRITTEN = "SELECT sum(n_tup_ins + n_tup_upd)::bigint FROM pg_stat_user_tables"
WAL_POSITION = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
# `%d` is the database; statements of the simple protocol are logged as "statement", others as "execute <name>".
LOG_PREFIX = "perf-%d "
STATEMENT = r"^perf-{database} LOG:  (statement|execute)\b"


def written(kind: str, steps: int, what: Literal["rows", "wal"]) -> Play:
    """Return a play whose figure is what one step of a linear flow writes: rows, or bytes of WAL.

    Everything is counted, from the call of `start_many` until worker and client are gone: their last statistics
    reach the server when they disconnect.
    """

    def play(stage: Stage, contender: Contender) -> float:
        # No full-page images, which depend on when the last checkpoint was; and nobody else writes.
        with stage.postgres.configured(full_page_writes="off", autovacuum="off"):
            return written_by_runs(stage, contender, kind)[what] / (RUNS * steps)

    return play


def written_by_runs(stage: Stage, contender: Contender, kind: str) -> dict[str, float]:
    """What starting and settling all runs writes."""
    with stage.enter(contender) as entry:
        before = totals(stage.postgres, entry.database)
        entry.ask("start", kind=kind, count=RUNS)
        with entry.worker():
            entry.wait()
    after = totals(stage.postgres, entry.database)
    return {what: after[what] - before[what] for what in after}


def totals(postgres: Postgres, database: str) -> dict[str, float]:
    """The counters of a database."""
    return {
        "rows": float(postgres.fetch(ROWS_WRITTEN, database)[0] or 0),
        "wal": float(postgres.fetch(WAL_POSITION, database)[0]),
    }


def idle_statements(stage: Stage, contender: Contender) -> float:
    """Statements per second of a worker that has nothing to do, counted in the server's log."""
    logged = stage.postgres.configured(log_statement="all", log_line_prefix=LOG_PREFIX)
    with logged, stage.enter(contender) as entry, entry.worker():
        entry.ask("warm")
        time.sleep(2)
        start = stage.postgres.log.stat().st_size
        time.sleep(IDLE_SECONDS)
        with stage.postgres.log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace")
    return len(re.findall(STATEMENT.format(database=re.escape(entry.database)), lines, re.MULTILINE)) / IDLE_SECONDS


MEASURES = (
    Measure(
        name="cost.rows",
        title="rows inserted and updated per step, 1,000 runs of a 3-step chain",
        unit="",
        play=written("chain", 3, "rows"),
    ),
    # The bound is of a step, and in a short chain a third of the run's own rows counts with each: its row, its end
    # and its two events. Ten steps show the step.
    Measure(
        name="cost.rows_of_ten",
        title="the same for a 10-step chain",
        unit="",
        play=written("long_chain", 10, "rows"),
        must=at_most(10),
    ),
    Measure(
        name="cost.wal",
        title="bytes of WAL per step, 1,000 runs of a 3-step chain",
        unit=" B",
        play=written("chain", 3, "wal"),
        must=at_most(3500),
    ),
    Measure(
        name="cost.idle",
        title="statements per second of an idle worker",
        unit="/s",
        play=idle_statements,
        must=at_most(2),
    ),
)
