"""Items of maps with `max_parallel`: the next ones take the places that became free."""

from __future__ import annotations

from collections import defaultdict

from django_workflow import db, queue
from django_workflow.statuses import HELD, PAUSED, QUEUED

HELD_TASKS = """
    SELECT h.id, t.id, t.queue FROM unnest(%s::bigint[], %s::int[]) AS h(id, places)
    CROSS JOIN LATERAL (
        SELECT id, queue FROM django_workflow_task
        WHERE step_run_id = h.id AND status = 'held' AND hold_reason = 'parallel' ORDER BY index LIMIT h.places
    ) t
"""
SET_HELD = """
    UPDATE django_workflow_task t SET status = %s, hold_reason = %s
    WHERE t.id = ANY(%s::bigint[]) AND t.status = 'held'
"""
QUEUE_SENT = """
    UPDATE django_workflow_task t SET status = 'queued', hold_reason = '', message_id = sent.message_id
    FROM sent WHERE t.id = sent.task_id AND t.status = 'held'
"""


def release_held(freed: dict[int, tuple[int, str, bool]]) -> set[str]:
    """Let the next items of maps with `max_parallel` take the places that became free.

    freed: step run -> free places, its run's status, and whether the run is local.
    Returns the queues that received messages. In a paused run the items stay held, as paused.
    """
    if not freed:
        return set()
    found = db.rows(HELD_TASKS, [list(freed), [places for places, _, _ in freed.values()]])
    paused: list[int] = []
    local: list[int] = []
    to_send: dict[str, list[int]] = defaultdict(list)
    for step_run_id, task_id, queue_name in found:
        _, run_status, is_local = freed[step_run_id]
        if run_status == PAUSED:
            paused.append(task_id)
        elif is_local:
            local.append(task_id)
        else:
            to_send[queue_name].append(task_id)
    if paused:
        db.execute(SET_HELD, [HELD, PAUSED, paused])
    if local:
        db.execute(SET_HELD, [QUEUED, "", local])
    for queue_name, ids in to_send.items():
        db.execute(*queue.sending(QUEUE_SENT, [], queue_name, ids))
    return set(to_send)
