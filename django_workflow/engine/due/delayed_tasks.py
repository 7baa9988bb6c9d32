"""Delayed tasks whose time has come get their message."""

from __future__ import annotations

from django_workflow import db
from django_workflow.engine.due.duty import BATCH, attempt
from django_workflow.engine.writing.tasks import send_for
from django_workflow.notifications import notifications

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


def send_due_tasks() -> int:
    """Send messages for delayed tasks whose time has come; returns how many. Each queue has its own transaction."""
    return sum(attempt(_send_due, name, queue=name) for (name,) in db.rows(QUEUES_WITH_DUE_TASKS))


def _send_due(name: str) -> int:
    with db.atomic():
        found = [task_id for (task_id,) in db.rows(LOCK_DUE_TASKS, [name, BATCH])]
        queues = send_for([(task_id, name, 0.0) for task_id in found])
    db.notify_after_commit(notifications(queues=queues))
    return len(found)
