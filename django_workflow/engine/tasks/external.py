"""Attempts whose handler begins in a process that no worker manages: `hand_over`, `begin_once`, `withdraw`, `watch`.

An engine may execute what it was given any number of times, and say nothing. So the handler's own process takes the
one begin that a lease has, in the task's row: `begun_lease_id` is the last lease under which it was taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_workflow import db
from django_workflow.engine.tasks.claimed import FENCES, ClaimedTask

#: What a lease is known by: the task and the random id of its claim.
Fence = tuple[int, int]

# a claim marks as begun what it has a slot for; in an engine's queue nothing has begun, and its loss is nobody's fault
HAND_OVER_IF_LEASED = f"""
    WITH leased AS MATERIALIZED (
        SELECT t.id FROM django_workflow_task t
        JOIN {FENCES} ON t.id = h.id AND t.lease_id = h.lease_id
        WHERE t.status = 'running' AND t.begun_lease_id IS DISTINCT FROM t.lease_id
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE django_workflow_task t SET begun_at = NULL FROM leased WHERE t.id = leased.id AND t.begun_at IS NOT NULL
"""


def hand_over(tasks: Sequence[ClaimedTask]) -> None:
    """Take back the begin marks of tasks before they are handed over."""
    if tasks:
        db.execute(HAND_OVER_IF_LEASED, FENCES.of(tasks))
        for task in tasks:
            task.is_begun = False


BEGIN_ONCE_IF_LEASED = """
    UPDATE django_workflow_task SET begun_lease_id = lease_id, begun_at = clock_timestamp(), progress = NULL
    WHERE id = %s AND lease_id = %s AND status = 'running' AND begun_lease_id IS DISTINCT FROM lease_id
    RETURNING id
"""


def begin_once(fence: Fence) -> bool:
    """Take the one begin of a lease and record its time; False where it was taken before, or the lease is over."""
    return bool(db.rows(BEGIN_ONCE_IF_LEASED, fence))


# the begin is taken without a time: who asks for it now comes too late
WITHDRAW_IF_LEASED = f"""
    WITH leased AS MATERIALIZED (
        SELECT t.id, t.lease_id FROM django_workflow_task t
        JOIN {FENCES} ON t.id = h.id AND t.lease_id = h.lease_id
        WHERE t.status = 'running' AND t.begun_lease_id IS DISTINCT FROM t.lease_id
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE django_workflow_task t SET begun_lease_id = leased.lease_id FROM leased WHERE t.id = leased.id
    RETURNING t.id, t.lease_id
"""


def withdraw(tasks: Sequence[ClaimedTask]) -> set[Fence]:
    """Take the begins of tasks that have not begun, so that they never do; returns the fences for which that holds."""
    if not tasks:
        return set()
    return {(task_id, lease_id) for task_id, lease_id in db.rows(WITHDRAW_IF_LEASED, FENCES.of(tasks))}


READ_BEGUN = f"""
    SELECT t.id, t.lease_id, extract(epoch FROM clock_timestamp() - t.begun_at)::float8 FROM django_workflow_task t
    JOIN {FENCES} ON t.id = h.id AND t.lease_id = h.lease_id
    WHERE t.begun_lease_id = t.lease_id AND t.begun_at IS NOT NULL AND t.status = 'running'
"""


def read_begun(tasks: Sequence[ClaimedTask]) -> dict[Fence, float]:
    """Return for tasks whose handler has begun, by fence, how many seconds ago."""
    if not tasks:
        return {}
    return {(task_id, lease_id): ago for task_id, lease_id, ago in db.rows(READ_BEGUN, FENCES.of(tasks))}


# only the holder of a run's lock waits for tasks: progress that meets a lock is told the next time
PROGRESS = db.Columns("h", id="bigint", lease_id="bigint", progress="float8")
WATCH = f"""
    WITH held AS MATERIALIZED (
        SELECT t.id, t.lease_id, h.progress FROM django_workflow_task t
        JOIN {PROGRESS} ON t.id = h.id AND t.lease_id = h.lease_id
        WHERE t.status = 'running'
    ), free AS MATERIALIZED (
        SELECT t.id, held.progress FROM django_workflow_task t
        JOIN held ON held.id = t.id AND held.lease_id = t.lease_id
        WHERE held.progress IS NOT NULL AND t.status = 'running'
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    ), told AS (
        UPDATE django_workflow_task t SET progress = free.progress FROM free WHERE t.id = free.id
    )
    SELECT id, lease_id FROM held
"""


def watch(progress: Mapping[Fence, float | None]) -> set[Fence]:
    """Tell how far handlers are, by fence, and return the fences that hold."""
    params = PROGRESS.lists(
        id=[task_id for task_id, _ in progress],
        lease_id=[lease_id for _, lease_id in progress],
        progress=list(progress.values()),
    )
    return {(task_id, lease_id) for task_id, lease_id in db.rows(WATCH, params)}
