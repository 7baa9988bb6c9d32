"""Items of maps with `max_parallel`: the next ones take the places that became free."""

from __future__ import annotations

from collections.abc import Mapping

from django_workflow import db
from django_workflow.engine.stored.locking import LockedRun
from django_workflow.engine.tasks.admission import HOLD_FOR_RESUME, admission
from django_workflow.engine.writing import tasks
from django_workflow.engine.writing.tasks import HeldTask

FREED = db.Columns("h", id="bigint", places="int")
HELD_TASKS = f"""
    SELECT h.id, t.id, t.queue FROM {FREED}
    CROSS JOIN LATERAL (
        SELECT id, queue FROM django_workflow_task
        WHERE step_run_id = h.id AND status = 'held' AND hold_reason = 'parallel' ORDER BY index LIMIT h.places
    ) t
"""


def release_held(freed: Mapping[int, tuple[int, LockedRun]]) -> set[str]:
    """Let the next items of maps with `max_parallel` take the places that became free.

    freed: step run -> how many places, and its run.
    Returns the queues that received messages. In a paused run the items stay held, as paused.
    """
    if not freed:
        return set()
    paused: list[int] = []
    free: list[HeldTask] = []
    params = FREED.lists(id=list(freed), places=[places for places, _ in freed.values()])
    for step_run_id, task_id, name in db.rows(HELD_TASKS, params):
        run = freed[step_run_id][1]
        if admission(run.status) == HOLD_FOR_RESUME:
            paused.append(task_id)
        else:
            free.append(HeldTask(task_id, name, is_local=run.is_local))
    tasks.hold_on(paused)
    return tasks.queue_held(free)
