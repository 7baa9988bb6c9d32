"""Tasks end, or are queued again, where the lease of their attempt still holds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django_workflow import db, queue
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.writing import tasks
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.statuses import FAILED, RELEASED, SKIPPED, SUCCEEDED, TASK_TERMINAL

ENDED = db.Columns(
    "e", id="bigint", lease_id="bigint", status="text", output="text", failure_count="int", lost_count="int",
    begun_ago="float8", ended_ago="float8",
)  # fmt: skip
END_IF_LEASED = f"""
    UPDATE django_workflow_task t
    SET status = e.status, output = e.output::jsonb, failure_count = e.failure_count, lost_count = e.lost_count,
        begun_at = coalesce(clock_timestamp() - make_interval(secs => e.begun_ago), t.begun_at),
        ended_at = clock_timestamp() - make_interval(secs => e.ended_ago)
    FROM {ENDED}
    WHERE t.id = e.id AND t.lease_id = e.lease_id AND t.status = 'running'
    RETURNING t.id, e.lease_id, t.message_id
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
        task = outcome.task
        if item.status in TASK_TERMINAL:
            begun_ago = None if outcome.begun_at is None else now - outcome.begun_at
            ended_ago = 0.0 if outcome.ended_at is None else now - outcome.ended_at
            over.append(ENDED.row(
                id=task.id, lease_id=task.lease_id, status=item.status, output=outcome.output,
                failure_count=item.failure_count, lost_count=item.lost_count, begun_ago=begun_ago, ended_ago=ended_ago,
            ))  # fmt: skip
        else:
            again.append(tasks.REQUEUED.row(
                id=task.id, lease_id=task.lease_id, status=item.status, hold_reason=item.hold_reason,
                failure_count=item.failure_count, lost_count=item.lost_count, delay=item.delay,
                keeps_message=item.keeps_message or item.keeps_lease, keeps_lease=item.keeps_lease,
            ))  # fmt: skip
    found = db.rows(END_IF_LEASED, ENDED.params(over)) if over else []
    found += tasks.requeue(again)
    messages: dict[tuple[int, int], int | None] = {
        (task_id, lease_id): message_id for task_id, lease_id, message_id in found
    }
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
    hidden: dict[str, list[tuple[int, float]]] = defaultdict(list)
    gone: list[tuple[str, int | None]] = []
    for item in endings:
        name, message = item.outcome.task.queue, item.message_id
        if item.keeps_message and message is not None and not item.keeps_lease:
            hidden[name].append((message, item.delay))
        elif not item.keeps_lease:
            gone.append((name, message))
    queue.delete_all(gone)
    for name, pairs in hidden.items():
        queue.hide(name, [message for message, _ in pairs], [delay for _, delay in pairs])
