"""What may be wrong with an installation, each finding with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import versions
from django_workflow.models import FlowVersion, Queue
from django_workflow.read import workers
from django_workflow.read.queues import LATE

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding."""

    #: How bad it is.
    level: str
    text: str
    #: What to do about it.
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at the database, the queues, the workers and the definitions; returns findings, good ones too."""
    findings = list(_database())
    if any(finding.level == ERROR for finding in findings):
        return findings  # nothing below can be looked at
    for look in (_definitions, _unreadable, _workers, _queues, _pauses, _strays, _foreign, _storage):
        findings += look()
    return findings


TABLES = "SELECT to_regclass('django_workflow_task') IS NOT NULL, to_regclass('pgmq.meta') IS NOT NULL"
PGMQ_VERSION = """
    SELECT coalesce((SELECT 'extension ' || extversion FROM pg_extension WHERE extname = 'pgmq'),
                    obj_description('pgmq'::regnamespace, 'pg_namespace'), 'of unknown version')
"""
#: Indexes, triggers and constraints that must be there: a restore or a hand may have lost them.
TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgtrigger_%%' AND tgrelid::regclass::text LIKE %s"


def has_tables() -> bool:
    """Say whether the database has the tables of workflows."""
    return bool(db.rows(TABLES)[0][0])


def _database() -> Iterator[Finding]:
    version = db.rows("SHOW server_version_num")[0][0]
    yield Finding(OK, f"PostgreSQL {int(version) // 10000} answers on database alias {conf.DATABASE!r}")
    has_tables, has_pgmq = db.rows(TABLES)[0]
    if not has_tables:
        yield Finding(ERROR, "the workflow tables are missing", "run: manage.py migrate")
    if not has_pgmq:
        yield Finding(ERROR, "pgmq is not installed in this database", "run: manage.py migrate django_workflow")
    if has_tables and has_pgmq:
        yield Finding(OK, f"pgmq: {db.rows(PGMQ_VERSION)[0][0]}")
        if queue.prefix() != queue.PREFIX:
            yield Finding(OK, f"the tables stand in schema {db.schema()!r}; its queues are named {queue.prefix()}…")
        if not db.rows(TRIGGERS, ["django_workflow_%"])[0][0]:
            yield Finding(ERROR, "the triggers that guard statuses are missing", "run: manage.py pgtrigger install")
    if db.rows("SHOW synchronous_commit")[0][0] == "off":
        yield Finding(
            WARNING,
            "synchronous_commit is off: after a crash of the server, finished steps may run again",
            "leave it on for this database or role",
        )


def _definitions() -> Iterator[Finding]:
    for _, error in registry.invalid():
        yield Finding(ERROR, error.message, "mend the flow, it cannot be started; manage.py check names the lines")
    yield Finding(OK, f"{len(registry.specs())} flows are declared in code")
    live = (
        FlowVersion.objects.using(conf.DATABASE).filter(runs__id__isnull=False, runs__ended_at__isnull=True).distinct()
    )
    for version in live.select_related("flow"):
        spec = versions.readable_spec(version.pk)
        missing = [] if spec is None else _missing_handlers(spec)
        if missing:
            yield Finding(
                WARNING,
                f"unsettled runs of {version} need handlers that this code does not have: {', '.join(missing)}",
                "give a renamed step name='the old name'; else keep a worker with the older code until they have "
                "settled, or cancel them",
            )


UNREADABLE = """
    SELECT version_id, count(*) FROM django_workflow_run WHERE status IN ('scheduled', 'running', 'paused')
    GROUP BY version_id
"""


def _unreadable() -> Iterator[Finding]:
    runs = {
        version_id: count for version_id, count in db.rows(UNREADABLE) if versions.readable_spec(version_id) is None
    }
    if runs:
        yield Finding(
            ERROR,
            f"{sum(runs.values()):,} unsettled runs are of versions that cannot be read: {', '.join(map(str, runs))}",
            "a later release wrote them, or they are gone: start a worker of that release, restore them, or cancel",
        )


def _missing_handlers(spec: FlowSpec) -> list[str]:
    return sorted({step.handler for step in spec.steps.values() if not registry.knows(step.handler, step.conditions)})


def _workers() -> Iterator[Finding]:
    served: set[str] = set()
    found = workers.read()
    for worker in found:
        if worker.state == workers.LIVE:
            served |= set(worker.queues)
            continue
        text = f"worker {worker.id} ({worker.hostname}:{worker.pid}) was last seen {worker.age:,.0f} s ago"
        yield Finding(WARNING, text, "it crashed or was killed; its tasks run again after their lease")
    if live := workers.live(found):
        yield Finding(OK, f"{len(live)} workers serve {', '.join(sorted(served))}")
    for name in queue.existing():
        waiting, total, _ = queue.depth(name)
        if total and name not in served:
            yield Finding(
                ERROR if waiting else WARNING,
                f"queue {name!r} holds {total:,} messages and no live worker serves it",
                f"run: manage.py run_workflow_worker --queues {name}",
            )


def _queues() -> Iterator[Finding]:
    known = set(queue.existing())
    wanted = {name for spec in registry.specs() for name in versions.queues_of(spec)}
    wanted |= set(Queue.objects.using(conf.DATABASE).values_list("name", flat=True))
    for name in sorted(wanted - known):
        yield Finding(ERROR, f"queue {name!r} does not exist", "run: manage.py migrate, or start a worker")
    paused = {row[1] for row in db.rows(PAUSES) if row[0] == "queue"}
    for name in sorted(known):
        waiting, _, age = queue.depth(name)
        if waiting and age > LATE and name not in paused:
            yield Finding(
                WARNING,
                f"queue {name!r}: {waiting:,} tasks wait, the oldest for {age:,.0f} s",
                "add workers or raise --concurrency; look for slow handlers",
            )
        else:
            yield Finding(OK, f"queue {name!r}: {waiting:,} tasks wait")


PAUSES = """
    SELECT 'flow' AS what, slug, paused_by, pause_reason, extract(epoch FROM clock_timestamp() - paused_at)::float8
    FROM django_workflow_flowdefinition WHERE paused_at IS NOT NULL
    UNION ALL
    SELECT 'queue', name, paused_by, pause_reason, extract(epoch FROM clock_timestamp() - paused_at)::float8
    FROM django_workflow_queue WHERE paused_at IS NOT NULL
    ORDER BY 1, 2
"""


def _pauses() -> Iterator[Finding]:
    for what, name, by, reason, seconds in db.rows(PAUSES):
        text = f"{what} {name!r} is paused for {seconds:,.0f} s" + (f" by {by}" if by else "")
        remedy = f"to let it go on: manage.py workflow resume --{what} {name}"
        yield Finding(WARNING, text + (f": {reason}" if reason else ""), remedy)


# a run may wait for nothing but a delayed arrival at a join
STUCK = """
    SELECT count(*) FROM django_workflow_run r
    WHERE r.status = 'running' AND NOT r.is_local AND NOT EXISTS (
        SELECT 1 FROM django_workflow_steprun s JOIN django_workflow_task t ON t.step_run_id = s.id
        WHERE s.run_id = r.id AND t.status IN ('queued', 'held', 'running', 'suspended'))
      AND NOT EXISTS (SELECT 1 FROM django_workflow_arrival a WHERE a.run_id = r.id AND a.generation IS NULL)
"""
OVERDUE = """
    SELECT count(*) FROM django_workflow_run
    WHERE status IN ('scheduled', 'running') AND deadline_at < clock_timestamp() - interval '1 minute'
"""
LATE_TO_BEGIN = """
    SELECT count(*) FROM django_workflow_run
    WHERE status = 'scheduled' AND due_at < clock_timestamp() - interval '1 minute'
"""
#: What `events.renumbering` repairs. The messages' index is by channel: this one walks over all of them.
OF_ANOTHER_CLUSTER = """
    SELECT (SELECT count(*) FROM django_workflow_event WHERE xid >= next.xid),
           (SELECT count(*) FROM django_workflow_message WHERE xid >= next.xid)
    FROM (SELECT greatest(pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
                          pg_current_xact_id_if_assigned()::text::bigint + 1) AS xid) AS next
"""


def _foreign() -> Iterator[Finding]:
    events, messages = db.rows(OF_ANOTHER_CLUSTER)[0]
    if events or messages:
        yield Finding(
            ERROR,
            f"{events:,} events and {messages:,} messages have transaction ids of another cluster, as after a restore: "
            "whoever follows or listens hears nothing",
            "run: manage.py migrate, or start a worker; cursors that were kept from there stay good",
        )


def _strays() -> Iterator[Finding]:
    stuck = db.rows(STUCK)[0][0]
    if stuck:
        yield Finding(ERROR, f"{stuck:,} running runs have no open task", "this is a bug; cancel them and report it")
    overdue = db.rows(OVERDUE)[0][0]
    if overdue:
        text = f"{overdue:,} runs are past their deadline: no keeper is at work"
        yield Finding(WARNING, text, "start a worker: one of them keeps time for all")
    late = db.rows(LATE_TO_BEGIN)[0][0]
    if late:
        text = f"{late:,} scheduled runs should have begun: no keeper is at work that has their code"
        yield Finding(WARNING, text, "start a worker of this release; its log says why a run cannot begin")


IDLE_IN_TRANSACTION = """
    SELECT count(*), max(extract(epoch FROM clock_timestamp() - xact_start))::float8 FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'idle in transaction'
      AND xact_start < clock_timestamp() - interval '5 minutes'
"""
CONNECTIONS = """
    SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


def _storage() -> Iterator[Finding]:
    count, age = db.rows(IDLE_IN_TRANSACTION)[0]
    if count:
        yield Finding(
            WARNING,
            f"{count} sessions sit in a transaction, the longest for {age:,.0f} s: dead rows pile up in the queues",
            "find them in pg_stat_activity; set idle_in_transaction_session_timeout",
        )
    used, limit = db.rows(CONNECTIONS)[0]
    if used > 0.9 * limit:
        text = f"{used} of {limit} connections are in use"
        yield Finding(WARNING, text, "lower --concurrency or --processes, or use a pooler")
    if conf.RETENTION is None:
        yield Finding(
            WARNING, "settled runs are kept for ever", "set DJANGO_WORKFLOW['RETENTION'], for example to 90 days"
        )
