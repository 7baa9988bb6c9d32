"""Tasks end, or are queued again, where the lease of their attempt still holds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django_workflow import db, queue
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.statuses import FAILED, RELEASED, SKIPPED, SUCCEEDED, TASK_TERMINAL

END_IF_LEASED = """
    UPDATE django_workflow_task t
    SET status = e.status, output = e.output::jsonb, failure_count = e.failure_count, lost_count = e.lost_count,
        begun_at = coalesce(clock_timestamp() - make_interval(secs => e.begun_ago), t.begun_at),
        ended_at = clock_timestamp() - make_interval(secs => e.ended_ago)
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::int[], %s::float8[], %s::float8[])
         AS e(id, lease_id, status, output, failure_count, lost_count, begun_ago, ended_ago)
    WHERE t.id = e.id AND t.lease_id = e.lease_id AND t.status = 'running'
    RETURNING t.id, e.lease_id, t.message_id
"""
# a paused run's clock stands still: a delay that begins meanwhile counts from the pause on. The lock comes first so
# that the message is told which the row had: it may be taken from it here, and only the row knows the latest
REQUEUE_IF_LEASED = """
    WITH again AS MATERIALIZED (
        SELECT t.message_id, e.*
        FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::int[], %s::float8[], %s::bool[],
                    %s::bool[])
             AS e(id, lease_id, status, hold_reason, failure_count, lost_count, delay, keeps_message, keeps_lease)
        JOIN django_workflow_task t ON t.id = e.id AND t.lease_id = e.lease_id AND t.status = 'running'
        ORDER BY t.id FOR NO KEY UPDATE OF t
    )
    UPDATE django_workflow_task t
    SET status = e.status, hold_reason = e.hold_reason, failure_count = e.failure_count, lost_count = e.lost_count,
        due_at = CASE WHEN e.delay > 0 THEN
                     CASE WHEN e.status = 'held' THEN (SELECT paused_at FROM django_workflow_run WHERE id = t.run_id)
                          ELSE clock_timestamp() END + make_interval(secs => e.delay) END,
        message_id = CASE WHEN e.keeps_message THEN t.message_id END,
        lease_id = CASE WHEN e.keeps_lease THEN t.lease_id END,
        worker_id = CASE WHEN e.keeps_lease THEN t.worker_id END, begun_at = NULL
    FROM again e WHERE t.id = e.id
    RETURNING t.id, e.lease_id, e.message_id
"""


def first_of_each(endings: Sequence[Ending]) -> tuple[list[Ending], list[Ending]]:
    """Part endings into the first of each attempt and those that came after it, such as a result after a timeout."""
    first: dict[tuple[int, int], Ending] = {}
    after = [item for item in endings if first.setdefault(item.outcome.task.fence, item) is not item]
    return list(first.values()), after


def end_tasks(endings: Sequence[Ending]) -> set[tuple[int, int]]:
    """Write the tasks whose lease still matches; return their fences. The others changed nothing.

    An ending learns its task's message from the row: the keeper may have sent another since the claim.
    """
    now = time.monotonic()
    over: list[tuple[Any, ...]] = []
    again: list[tuple[Any, ...]] = []
    for item in endings:
        outcome = item.outcome
        fence = (outcome.task.id, outcome.task.lease_id, item.status)
        if item.status in TASK_TERMINAL:
            begun_ago = None if outcome.begun_at is None else now - outcome.begun_at
            ended_ago = 0.0 if outcome.ended_at is None else now - outcome.ended_at
            over.append((*fence, outcome.output, item.failure_count, item.lost_count, begun_ago, ended_ago))
        else:
            counts = (item.failure_count, item.lost_count)
            keeps_message = item.keeps_message or item.keeps_lease
            again.append((*fence, item.hold_reason, *counts, item.delay, keeps_message, item.keeps_lease))
    messages: dict[tuple[int, int], int | None] = {}
    for sql, values in ((END_IF_LEASED, over), (REQUEUE_IF_LEASED, again)):
        if values:
            found = db.rows(sql, [list(column) for column in zip(*values, strict=True)])
            messages |= {(task_id, lease_id): message_id for task_id, lease_id, message_id in found}
    for item in endings:
        item.message_id = messages.get(item.outcome.task.fence) or item.outcome.task.message_id
    return set(messages)


def write_task_events(endings: Sequence[Ending], events: EventLog) -> None:
    """Collect what handlers emitted and, at level "task", what became of each task."""
    for item in endings:
        outcome, task = item.outcome, item.outcome.task
        for kind, data in outcome.events:
            events.custom(task.run_id, kind, task.step.name, task.id, data)
        kind = {SUCCEEDED: "task.completed", SKIPPED: "task.completed", FAILED: "task.failed"}.get(
            item.status, "task.retried"
        )
        if outcome.kind != RELEASED:
            events.task(task.run_id, kind, task.step.name, task.id, {"attempt": outcome.attempt})


def drop_messages(endings: Sequence[Ending]) -> None:
    """Delete the messages of tasks that ended or wait in their rows; hide those that are tried again."""
    gone: dict[str, list[int]] = defaultdict(list)
    hidden: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for item in endings:
        task = item.outcome.task
        if item.message_id is None or item.keeps_lease:
            continue
        if item.keeps_message:
            hidden[task.queue].append((item.message_id, item.delay))
        else:
            gone[task.queue].append(item.message_id)
    for name, ids in gone.items():
        queue.delete(name, ids)
    for name, pairs in hidden.items():
        queue.hide(name, [message for message, _ in pairs], [delay for _, delay in pairs])
