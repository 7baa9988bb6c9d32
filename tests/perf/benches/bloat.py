"""A drain in a database that already holds a million finished tasks, against the same drain in a fresh one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import Connection, sql

from tests.perf import contenders as who
from tests.perf.contenders import Contender
from tests.perf.measures import Measure, Peer
from tests.perf.servers import Postgres
from tests.perf.stage import RoundFailed, Stage
from tests.perf.stats import reaches

FINISHED = 1_000_000
RUNS = 10_000

FULL = who.ours("ours, 1,000,000 finished", PERF_FINISHED=str(FINISHED))
FRESH = who.ours("ours, fresh")

# One finished run is copied row by row: in every table of the run, these columns get values of their own.
# The others, whatever they are, keep the value the engine itself has written.
RUN_ID = "('01900000-0000-7000-8000-' || lpad(to_hex(copy.n), 12, '0'))::uuid"
STRIDE = 100  # more than the one run has ids in any table, so that no two copies meet
OWN_ID = f"row.id + copy.n * {STRIDE}"
TABLES: Mapping[str, Mapping[str, str]] = {
    "django_workflow_run": {"id": RUN_ID},
    "django_workflow_steprun": {"id": OWN_ID, "run_id": RUN_ID},
    "django_workflow_task": {
        "id": OWN_ID,
        "run_id": RUN_ID,
        "step_run_id": f"row.step_run_id + copy.n * {STRIDE}",
        "message_id": f"row.message_id + copy.n * {STRIDE}",
    },
    "django_workflow_event": {"id": OWN_ID, "run_id": RUN_ID, "task_id": f"row.task_id + copy.n * {STRIDE}"},
}
COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


def prepare(stage: Stage, contender: Contender) -> str:
    """The contender's database of all rounds, with one finished run, or a million of them; made on first use."""
    database = f"perf_{contender.slug}"
    if database not in stage.prepared:
        stage.postgres.create(database, template=stage.template(contender))
        with stage.enter(contender, database) as entry:
            entry.ask("start", kind="noop", count=1)
            with entry.worker():
                entry.wait()
        if "PERF_FINISHED" in contender.environment:
            fill(stage.postgres, database)
        stage.prepared.add(database)
    return database


def fill(postgres: Postgres, database: str) -> None:
    """Copy the one finished run until there are a million."""
    with postgres.connect(database) as connection:
        # Neither triggers nor their checks: the copies are as legal as the original.
        connection.execute("SET session_replication_role = replica")
        for table, own in TABLES.items():
            copy_rows(connection, table, own)
        # ANALYZE as the measure asks; VACUUM, so that the first drain does not pay for setting hint bits.
        connection.execute("VACUUM (ANALYZE)")


def copy_rows(connection: Connection[Any], table: str, own: Mapping[str, str]) -> None:
    """Multiply the rows of one table and move its sequence behind them."""
    name = sql.Identifier(table)
    columns = [row[0] for row in connection.execute(COLUMNS, [table])]
    values = [sql.SQL(own[each]) if each in own else column_of_row(each) for each in columns]
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} row, generate_series(1, {}) copy(n)"
        ).format(name, sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join(values), name, FINISHED - 1)
    )
    if own["id"] == OWN_ID:
        move = sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), (SELECT max(id) FROM {}))")
        connection.execute(move.format(sql.Literal(table), name))


def column_of_row(column: str) -> sql.Composed:
    """A column as the original row has it."""
    return sql.SQL("row.{}").format(sql.Identifier(column))


def drain_again(stage: Stage, contender: Contender) -> float:
    """Runs per second of a drain in the contender's own database, which stays for the next round."""
    with stage.enter(contender, prepare(stage, contender)) as entry:
        before = entry.ask("count")
        entry.ask("start", kind="noop", count=RUNS)
        stage.settle_statistics(entry)
        with entry.worker():
            settled = entry.wait()
        if (succeeded := entry.ask("count") - before) != RUNS:
            raise RoundFailed(f"{contender.name}: {succeeded} of {RUNS} runs succeeded")
        return RUNS / (settled - entry.began())


MEASURES = (
    Measure(
        name="bloat",
        title="drain with 1,000,000 finished tasks against a fresh database",
        unit="/s",
        play=drain_again,
        ours=FULL,
        peers=(Peer(FRESH, drain_again, reaches(0.9)),),
    ),
)
