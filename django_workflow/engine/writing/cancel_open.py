"""Closing runs: no row of a settled run stays open, and running handlers are told to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from django_workflow import db, queue

# the lock is a step of its own so that each row's status before the end is known
CANCEL_OPEN_TASKS = """
    WITH open AS MATERIALIZED (
        SELECT t.id, t.status FROM django_workflow_task t
        JOIN django_workflow_steprun s ON s.id = t.step_run_id
        WHERE (s.run_id = ANY(%s::uuid[]) AND s.status IN ('waiting', 'running') OR s.id = ANY(%s::bigint[]))
          AND t.status IN ('queued', 'held', 'running', 'suspended')
        ORDER BY t.id FOR NO KEY UPDATE OF t
    )
    UPDATE django_workflow_task t
    SET status = 'cancelled', ended_at = clock_timestamp(), hold_reason = ''
    FROM open WHERE t.id = open.id
    RETURNING t.id, t.run_id, t.queue, t.message_id, open.status = 'running'
"""
CANCEL_OPEN_STEP_RUNS = """
    UPDATE django_workflow_steprun
    SET status = 'cancelled', open_tasks = 0, ended_at = clock_timestamp()
    WHERE run_id = ANY(%s::uuid[]) AND status IN ('waiting', 'running')
"""
# they stay, as what was on its way when the run ended, and are never due
STOP_DELAYED_ARRIVALS = """
    UPDATE django_workflow_arrival SET due_at = NULL WHERE run_id = ANY(%s::uuid[]) AND generation IS NULL
"""
CUT_OFF = db.Columns("n", id="bigint", why="text")
RECORD_CANCELLED_ATTEMPTS = f"""
    INSERT INTO django_workflow_attempt
        (run_id, task_id, lease_id, worker_id, number, is_counted, begun_at, ended_at, outcome, message)
    SELECT t.run_id, t.id, t.lease_id, t.worker_id, t.attempt, false, t.begun_at, clock_timestamp(), 'cancelled', n.why
    FROM django_workflow_task t
    JOIN {CUT_OFF} ON t.id = n.id
"""


def close_runs(ended: Mapping[UUID, str]) -> set[UUID]:
    """End everything that is still open in runs that have just settled.

    ended: run -> why, for the history of its running attempts.
    The caller holds the runs' locks. Returns the runs in which a handler was running.
    """
    if not ended:
        return set()
    running = _cancel(list(ended), [], lambda run_id: f"the run ended {ended[run_id]}")
    db.add(CANCEL_OPEN_STEP_RUNS, [list(ended)])
    db.add(STOP_DELAYED_ARRIVALS, [list(ended)])
    return running


def cancel_tasks(step_run_ids: Sequence[int]) -> set[UUID]:
    """Cancel the open tasks of step runs that ended without them; returns as `close_runs` does."""
    if not step_run_ids:
        return set()
    return _cancel([], list(step_run_ids), lambda _: "the step ended without this task")


def _cancel(run_ids: list[UUID], step_run_ids: list[int], why: Callable[[UUID], str]) -> set[UUID]:
    tasks = db.rows(CANCEL_OPEN_TASKS, [run_ids, step_run_ids])
    running = [(task_id, run_id) for task_id, run_id, _, _, was_running in tasks if was_running]
    if running:
        reasons = [why(run_id) for _, run_id in running]
        db.add(RECORD_CANCELLED_ATTEMPTS, CUT_OFF.lists(id=[task_id for task_id, _ in running], why=reasons))
    queue.delete_all((name, message) for _, _, name, message, _ in tasks)
    return {run_id for _, run_id in running}
