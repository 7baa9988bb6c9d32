"""Queues and messages that are gone, though tasks need them, are made again."""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.engine.due.duty import BATCH, attempt
from django_workflow.engine.stored import versions
from django_workflow.engine.writing.tasks import send_for
from django_workflow.notifications import notifications


def restore_queues() -> int:
    """Make queues again whose tables are gone, dropped or left out of a restore; returns how many.

    Their tasks get new messages by `reconcile`.
    """
    return versions.restore_queues()


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
        attempt(lambda item: _send_anew(*item), (name, tasks), queue=name)
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
            queues = send_for(
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
