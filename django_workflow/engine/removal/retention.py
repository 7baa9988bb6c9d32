"""Retention: runs, messages and workers' rows that are older than a site keeps them are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django_workflow import arguments, db
from django_workflow.engine.due.duty import BATCH, leave_for_later
from django_workflow.engine.settling import isolation

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
    return isolation.each_apart(
        [row[0] for row in db.rows(EXPIRED_RUNS, [seconds, limit])], _delete_runs, leave_for_later
    )


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
