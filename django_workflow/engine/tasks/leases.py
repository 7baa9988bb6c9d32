"""What a worker does with the leases it holds: `begin` and `heartbeat`. Neither takes a run's lock or ends a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django_workflow import db, queue
from django_workflow.engine.tasks.claimed import FENCES, ClaimedTask

# the guard is the fence: what is no longer leased by this claim does not begin. Only the holder of a
# run's lock waits for tasks: a begin that waited for one while it holds another could meet a cancel
BEGIN_IF_LEASED = f"""
    WITH leased AS MATERIALIZED (
        SELECT t.id FROM django_workflow_task t
        JOIN {FENCES} ON t.id = h.id AND t.lease_id = h.lease_id
        WHERE t.status = 'running'
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE django_workflow_task t SET begun_at = coalesce(t.begun_at, clock_timestamp())
    FROM leased WHERE t.id = leased.id
    RETURNING t.id
"""


def begin(tasks: Sequence[ClaimedTask]) -> set[int]:
    """Record durably that these tasks' handlers begin; returns the ids whose lease holds and whose row is free."""
    if not tasks:
        return set()
    found = db.rows(BEGIN_IF_LEASED, FENCES.of(tasks))
    begun = {row[0] for row in found}
    for task in tasks:
        task.is_begun = task.id in begun
    return begun


@dataclass(slots=True)
class Pulse:
    """What a heartbeat learnt: leases held on, ended by others, and not looked at because locked."""

    held: set[int] = field(default_factory=set)
    ended: dict[int, str] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)


LOCK_LEASED = f"""
    SELECT t.id, t.queue, t.message_id FROM django_workflow_task t
    JOIN {FENCES} ON t.id = h.id AND t.lease_id = h.lease_id
    WHERE t.status = 'running'
    ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
"""
READ_LEASES = f"""
    SELECT t.id, t.status, t.lease_id = h.lease_id FROM django_workflow_task t
    JOIN {FENCES} ON t.id = h.id
"""
PROGRESS = db.Columns("p", id="bigint", progress="float8")
TELL_PROGRESS = f"""
    UPDATE django_workflow_task t SET progress = p.progress
    FROM {PROGRESS} WHERE t.id = p.id
"""


def heartbeat(tasks: Sequence[ClaimedTask], lease: float, progress: Mapping[int, float] | None = None) -> Pulse:
    """Extend the leases of tasks, and learn which of them were cancelled or taken by others.

    lease: seconds from now. progress: what handlers told since the last heartbeat, by task id.
    Commits asynchronously: a lost heartbeat is repeated.
    """
    pulse = Pulse()
    by_id = {task.id: task for task in tasks if not task.is_local}
    if not by_id:
        return pulse
    with db.atomic():
        db.without_waiting_for_flush()
        messages: dict[str, list[int]] = defaultdict(list)
        # the row's own message: the keeper may have sent another one since the claim
        for task_id, queue_name, message_id in db.rows(LOCK_LEASED, FENCES.of(list(by_id.values()))):
            pulse.held.add(task_id)
            if message_id is not None:
                messages[queue_name].append(message_id)
        for queue_name, ids in messages.items():
            queue.extend(queue_name, ids, lease)
        told = {key: value for key, value in (progress or {}).items() if key in pulse.held}
        if told:
            db.execute(TELL_PROGRESS, PROGRESS.lists(id=list(told), progress=list(told.values())))
    rest = [task for task_id, task in by_id.items() if task_id not in pulse.held]
    if rest:
        _judge_unlocked(rest, pulse)
    return pulse


def _judge_unlocked(rest: Sequence[ClaimedTask], pulse: Pulse) -> None:
    """A row skipped because it was locked is not a lost one: read it without a lock."""
    rows = db.rows(READ_LEASES, FENCES.of(rest))
    states = {task_id: (status, is_mine) for task_id, status, is_mine in rows}
    for task in rest:
        status, is_mine = states.get(task.id, ("gone", False))
        if status == "running" and is_mine:
            pulse.skipped.add(task.id)
        else:
            pulse.ended[task.id] = status if is_mine or status != "running" else "lost"
