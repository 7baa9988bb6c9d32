"""What becomes due by itself: delayed tasks, deadlines, lost messages, lost local runs, retention.

One process at a time does this (the worker's keeper). Each verb does a bounded amount of work.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from django_workflow import arguments, db, queue
from django_workflow.conf import conf
from django_workflow.engine import close, publish, refused
from django_workflow.engine.control import end_runs
from django_workflow.engine.settle import notifications
from django_workflow.statuses import FAILED, TIMED_OUT

logger = logging.getLogger("django_workflow.keeper")

T = TypeVar("T")

BATCH = 1_000

# one statement tells an idle keeper that there is nothing to do
WHAT_IS_DUE = """
    SELECT
        EXISTS (SELECT 1 FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
                WHERE t.message_id IS NULL AND t.due_at <= clock_timestamp() AND t.status = 'queued'
                  AND NOT r.is_local),
        EXISTS (SELECT 1 FROM django_workflow_run WHERE status = 'scheduled' AND due_at <= clock_timestamp()),
        EXISTS (SELECT 1 FROM django_workflow_run
                WHERE status IN ('scheduled', 'running', 'paused') AND deadline_at <= clock_timestamp()
                  AND status <> 'paused'),
        EXISTS (SELECT 1 FROM django_workflow_flowdefinition WHERE paused_at IS NOT NULL),
        EXISTS (SELECT 1 FROM django_workflow_arrival a JOIN django_workflow_run r ON r.id = a.run_id
                WHERE a.generation IS NULL AND a.due_at <= clock_timestamp() AND r.status = 'running'
                  AND NOT r.is_local),
        extract(epoch FROM least(
            (SELECT min(due_at) FROM django_workflow_task
             WHERE message_id IS NULL AND due_at > clock_timestamp() AND status = 'queued'),
            (SELECT min(due_at) FROM django_workflow_run WHERE status = 'scheduled' AND due_at > clock_timestamp()),
            (SELECT min(due_at) FROM django_workflow_arrival
             WHERE generation IS NULL AND due_at > clock_timestamp())
        ) - clock_timestamp())::float8
"""


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do now, and the seconds until there is more, None where nothing waits for its time."""

    tasks: bool
    runs: bool
    deadlines: bool
    pauses: bool
    arrivals: bool
    seconds_to_next: float | None


def what_is_due() -> Due:
    """Return whether tasks, scheduled runs, deadlines and arrivals are due, and whether a flow is paused."""
    return Due(*db.rows(WHAT_IS_DUE)[0])


HAS_DELAYED = """
    SELECT EXISTS (SELECT 1 FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
                   WHERE t.message_id IS NULL AND t.due_at IS NOT NULL AND t.status = 'queued'
                     AND t.queue = ANY(%s::text[]) AND NOT r.is_local)
"""


def has_delayed_tasks(queues: Sequence[str]) -> bool:
    """Say whether any task of these queues waits in its row for a later time."""
    return bool(db.rows(HAS_DELAYED, [list(queues)])[0][0])


JOINS_WAITED_FOR = """
    SELECT DISTINCT r.version_id, a.step
    FROM django_workflow_arrival a JOIN django_workflow_run r ON r.id = a.run_id
    WHERE a.generation IS NULL AND a.due_at IS NOT NULL AND r.status = 'running' AND NOT r.is_local
"""


def has_delayed_arrivals(queues: Sequence[str]) -> bool:
    """Say whether an arrival at a join of these queues waits for a later time; those left to others do not count."""
    return any(
        publish.can_decide(version_id)
        and (publish.spec_of(version_id).steps[step].queue or conf.DEFAULT_QUEUE) in queues
        for version_id, step in db.rows(JOINS_WAITED_FOR)
    )


QUEUES_WITH_DUE_TASKS = """
    SELECT DISTINCT t.queue FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
    WHERE t.message_id IS NULL AND t.due_at <= clock_timestamp() AND t.status = 'queued' AND NOT r.is_local
"""
# the condition on the message is read again under the lock by PostgreSQL itself, for it is of the locked row
LOCK_DUE_TASKS = """
    SELECT t.id FROM django_workflow_task t JOIN django_workflow_run r ON r.id = t.run_id
    WHERE t.message_id IS NULL AND t.due_at <= clock_timestamp() AND t.status = 'queued' AND NOT r.is_local
      AND t.queue = %s
    ORDER BY t.id LIMIT %s FOR NO KEY UPDATE OF t SKIP LOCKED
"""
POINT_AT_SENT = """
    UPDATE django_workflow_task t SET message_id = sent.message_id FROM sent WHERE t.id = sent.task_id
"""


def send_due_tasks() -> int:
    """Send messages for delayed tasks whose time has come; returns how many. Each queue has its own transaction."""
    return sum(_apart(_send_due, name, queue=name) for (name,) in db.rows(QUEUES_WITH_DUE_TASKS))


def _send_due(name: str) -> int:
    with db.atomic():
        found = [task_id for (task_id,) in db.rows(LOCK_DUE_TASKS, [name, BATCH])]
        queues = _send_for([(task_id, name, 0.0) for task_id in found])
    db.notify_after_commit(notifications(queues=queues))
    return len(found)


def _apart(work: Callable[[T], int], item: T, **fields: object) -> int:
    """Do a part of a duty; where it is refused the other parts go on, and it is tried again the next time."""
    try:
        return work(item)
    except Exception as error:
        if db.is_of_connection(error):
            raise
        told = ", ".join(f"{name} {value}" for name, value in fields.items())
        logger.warning("the keeper leaves %s for the next time: %s", told, db.for_logs(error))
        return 0


def _send_for(tasks: list[tuple[int, str, float]]) -> set[str]:
    """Send a message for each (task, queue, delay) and point the tasks at them; the caller holds their locks."""
    groups: dict[tuple[str, float], list[int]] = defaultdict(list)
    for task_id, name, delay in tasks:
        groups[name, delay].append(task_id)
    for (name, delay), ids in groups.items():
        db.execute(*queue.sending(POINT_AT_SENT, [], name, ids, delay))
    return {name for name, _ in groups}


OVERDUE_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp() ORDER BY id LIMIT %s
"""
LOCK_OVERDUE_RUNS = """
    SELECT id, is_local FROM django_workflow_run
    WHERE id = ANY(%s::uuid[]) AND status IN ('scheduled', 'running') AND deadline_at <= clock_timestamp()
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""


def end_overdue_runs() -> int:
    """End runs that are past their deadline as timed out; returns how many. One that cannot be ended stops no other."""
    return refused.each_apart([run_id for (run_id,) in db.rows(OVERDUE_RUNS, [BATCH])], _end_overdue, _leave)


def _end_overdue(run_ids: Sequence[UUID]) -> int:
    with db.atomic():
        found = [row[0] for row in db.rows(LOCK_OVERDUE_RUNS, [list(run_ids)])]
        if found:
            # a release that cannot decide a scheduled run leaves it scheduled, up to its deadline
            close.begin_scheduled(found)
        reason = "the run took longer than its max_duration"
        cancelled = end_runs(found, TIMED_OUT, "run.timed_out", reason=reason)
    db.notify_after_commit(notifications(runs=found, cancelled=cancelled))
    return len(found)


def _leave(run_id: UUID, error: Exception) -> None:
    extra = {"run_id": str(run_id)}
    logger.warning("the keeper leaves a run for the next time: %s", db.for_logs(error), extra=extra)


def restore_queues() -> int:
    """Make queues again whose tables are gone, dropped or left out of a restore; returns how many.

    Their tasks get new messages by `reconcile`.
    """
    return publish.restore_queues()


LIVE_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE status IN ('scheduled', 'running', 'paused') AND id > %s AND NOT is_local ORDER BY id LIMIT %s
"""
POINTED_TASKS = """
    SELECT t.id, t.queue, t.message_id FROM django_workflow_steprun s
    JOIN django_workflow_task t ON t.step_run_id = s.id
    WHERE s.run_id = ANY(%s::uuid[]) AND s.status = 'running' AND t.status IN ('queued', 'running')
      AND (t.due_at IS NULL OR t.due_at <= clock_timestamp())
"""
LOCK_SUSPECTS = """
    SELECT t.id FROM django_workflow_task t WHERE t.id = ANY(%s::bigint[])
    ORDER BY t.id FOR NO KEY UPDATE SKIP LOCKED
"""
# a second statement after the lock: the recheck of a locking anti-join keeps the stale null side
LOOK_AGAIN = """
    SELECT t.id, t.message_id, t.status FROM django_workflow_task t
    WHERE t.id = ANY(%s::bigint[]) AND t.status IN ('queued', 'running')
      AND (t.due_at IS NULL OR t.due_at <= clock_timestamp())
"""


def reconcile(after: UUID | None = None, limit: int = BATCH) -> UUID | None:
    """Send anew for live tasks whose message is gone, in the runs that follow `after`.

    Returns the last run looked at, or None at the end of the table.
    """
    runs = [row[0] for row in db.rows(LIVE_RUNS, [after or UUID(int=0), limit])]
    if not runs:
        return None
    by_queue: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    for task_id, name, message_id in db.rows(POINTED_TASKS, [runs]):
        by_queue[name].append((task_id, message_id))
    for name, tasks in by_queue.items():
        _apart(lambda item: _send_anew(*item), (name, tasks), queue=name)
    return runs[-1] if len(runs) == limit else None


def _send_anew(name: str, tasks: list[tuple[int, int | None]]) -> int:
    """Send for those tasks of a queue whose message is gone; returns how many these may have been."""
    suspects = _without_message(name, tasks)
    if suspects:
        with db.atomic():
            locked = [row[0] for row in db.rows(LOCK_SUSPECTS, [suspects])]
            again = db.rows(LOOK_AGAIN, [locked])
            still = set(_without_message(name, [(task_id, message) for task_id, message, _ in again]))
            lease = conf.LEASE.total_seconds()
            # a running task's worker may well live: its new message stays hidden for one lease
            queues = _send_for(
                [
                    (task_id, name, lease if status == "running" else 0.0)
                    for task_id, _, status in again
                    if task_id in still
                ]
            )
        db.notify_after_commit(notifications(queues=queues))
    return len(suspects)


def _without_message(name: str, tasks: list[tuple[int, int | None]]) -> list[int]:
    """Return the ids of those tasks of a queue, with their messages, whose message does not exist."""
    pointers = {message: task_id for task_id, message in tasks if message is not None}
    absent = [task_id for task_id, message in tasks if message is None]
    return sorted(absent + [pointers[message] for message in queue.missing(name, list(pointers))])


LOCAL_RUNS = """
    SELECT id FROM django_workflow_run WHERE status IN ('scheduled', 'running', 'paused') AND is_local LIMIT %s
"""
TRY_LOCAL_LEASE = "SELECT pg_try_advisory_xact_lock(%s)"
LOCK_IF_UNSETTLED = """
    SELECT id FROM django_workflow_run
    WHERE id = %s AND status IN ('scheduled', 'running', 'paused') FOR NO KEY UPDATE SKIP LOCKED
"""


def local_lease_key(run_id: UUID) -> int:
    """Return the advisory lock that the process which executes a local run holds; a copied site has the same runs."""
    return int.from_bytes(run_id.bytes[8:], "big", signed=True) ^ db.number_of_schema()


def end_lost_local_runs() -> int:
    """End local runs as failed whose process has ended: their advisory lock is free."""
    return sum(_apart(_end_if_lost, run_id, run=run_id) for (run_id,) in db.rows(LOCAL_RUNS, [BATCH]))


def _end_if_lost(run_id: UUID) -> int:
    with db.atomic():
        if db.rows(TRY_LOCAL_LEASE, [local_lease_key(run_id)])[0][0] and db.rows(LOCK_IF_UNSETTLED, [run_id]):
            end_runs([run_id], FAILED, "run.failed", reason="lost: the process that executed this run ended before it")
            return 1
    return 0


EXPIRED_RUNS = """
    SELECT id FROM django_workflow_run
    WHERE ended_at < clock_timestamp() - make_interval(secs => %s::float8)
    ORDER BY ended_at LIMIT %s
"""
COUNT_EXPIRED = """
    SELECT count(*) FROM django_workflow_run
    WHERE ended_at < clock_timestamp() - make_interval(secs => %s::float8)
"""
DELETE_WORKERS = """
    DELETE FROM django_workflow_worker WHERE heartbeat_at < clock_timestamp() - make_interval(secs => %s::float8)
"""
#: What belongs to a run, leaves first; retention owns all of it. Tasks are found through their step runs.
DELETE_OF_RUNS = (
    "DELETE FROM django_workflow_tasklog WHERE run_id = ANY(%s::uuid[])",
    "DELETE FROM django_workflow_dismissal WHERE run_id = ANY(%s::uuid[])",
    """
    DELETE FROM django_workflow_attempt WHERE task_id IN (
        SELECT t.id FROM django_workflow_steprun s JOIN django_workflow_task t ON t.step_run_id = s.id
        WHERE s.run_id = ANY(%s::uuid[]))
    """,
    """
    DELETE FROM django_workflow_task WHERE step_run_id IN (
        SELECT id FROM django_workflow_steprun WHERE run_id = ANY(%s::uuid[]))
    """,
    "DELETE FROM django_workflow_event WHERE run_id = ANY(%s::uuid[])",
    "DELETE FROM django_workflow_arrival WHERE run_id = ANY(%s::uuid[])",
    "DELETE FROM django_workflow_steprun WHERE run_id = ANY(%s::uuid[])",
    "DELETE FROM django_workflow_variables WHERE run_id = ANY(%s::uuid[])",
    "DELETE FROM django_workflow_run WHERE id = ANY(%s::uuid[])",
)


def prune(older_than: timedelta, *, limit: int = BATCH, dry_run: bool = False) -> int:
    """Delete whole runs that settled longer ago than `older_than`, with everything of theirs.

    So go the rows of workers that were last heard of before that, and the messages sent before it.

    limit: runs in one transaction. dry_run: only count all that would go.
    Returns how many runs.
    """
    seconds = arguments.duration(older_than, "older_than=").total_seconds()
    limit = arguments.whole(limit, "limit=", least=1)
    if dry_run:
        count: int = db.rows(COUNT_EXPIRED, [seconds])[0][0]
        return count
    db.execute(DELETE_WORKERS, [seconds])
    prune_messages(older_than)
    # one that a table of the site still refers to keeps no other
    return refused.each_apart([row[0] for row in db.rows(EXPIRED_RUNS, [seconds, limit])], _delete_runs, _leave)


def _delete_runs(run_ids: Sequence[UUID]) -> int:
    with db.atomic():
        db.rows("SELECT set_config('django_workflow.retention', 'on', true)")
        for statement in DELETE_OF_RUNS:
            db.execute(statement, [list(run_ids)])
    return len(run_ids)


DELETE_MESSAGES = """
    WITH deleted AS (
        DELETE FROM django_workflow_message WHERE id IN (
            SELECT id FROM django_workflow_message
            WHERE created_at < clock_timestamp() - make_interval(secs => %s::float8)
            ORDER BY created_at LIMIT %s::int FOR UPDATE SKIP LOCKED)
        RETURNING 1
    )
    SELECT count(*) FROM deleted
"""
COUNT_OLD_MESSAGES = """
    SELECT count(*) FROM django_workflow_message
    WHERE created_at < clock_timestamp() - make_interval(secs => %s::float8)
"""


def prune_messages(older_than: timedelta, *, limit: int = 50 * BATCH, dry_run: bool = False) -> int:
    """Delete messages that were sent longer ago than `older_than`, each thousand in a transaction of its own.

    limit: how many at most. dry_run: only count all that would go.
    Returns how many.
    """
    seconds = arguments.duration(older_than, "older_than=").total_seconds()
    limit = arguments.whole(limit, "limit=", least=1)
    if dry_run:
        count: int = db.rows(COUNT_OLD_MESSAGES, [seconds])[0][0]
        return count
    done = 0
    while done < limit:
        batch = min(BATCH, limit - done)
        deleted: int = db.rows(DELETE_MESSAGES, [seconds, batch])[0][0]
        done += deleted
        if deleted < batch:
            break
    return done
