"""Taking tasks of local runs, which have no messages."""

from __future__ import annotations

from uuid import UUID

from django_workflow import db
from django_workflow.engine.tasks.claim import COLUMNS, OF_ROW, equipped, tasks_of
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.ids import new_lease_id

TAKEN = db.select(
    OF_ROW, **COLUMNS, is_lost="false", lost_lease_id="NULL::bigint", version_id="r.version_id",
    is_input_read="true", input="r.input", lost_worker_id="NULL::bigint",
)  # fmt: skip
# the condition on the status is read again by PostgreSQL under the row's lock
TAKE_LOCAL = """
    UPDATE django_workflow_task t
    SET status = 'running', lease_id = %s, attempt = t.attempt + 1, begun_at = clock_timestamp()
    FROM django_workflow_steprun s, django_workflow_run r
    WHERE t.id = (
        {wanted}
        FOR NO KEY UPDATE OF q
    ) AND s.id = t.step_run_id AND r.id = t.run_id
    RETURNING {taken}
"""
TAKE_LOCAL_NEXT = TAKE_LOCAL.format(
    taken=TAKEN,
    wanted="""
        SELECT q.id FROM django_workflow_task q JOIN django_workflow_steprun o ON o.id = q.step_run_id
        WHERE o.run_id = %s AND o.status = 'running' AND q.status = 'queued'
          AND (q.due_at IS NULL OR q.due_at <= clock_timestamp())
        ORDER BY q.step_run_id, q.index LIMIT 1""",
)
TAKE_LOCAL_ONE = TAKE_LOCAL.format(
    taken=TAKEN,
    wanted="""
        SELECT q.id FROM django_workflow_task q JOIN django_workflow_steprun o ON o.id = q.step_run_id
        WHERE q.id = %s AND o.status = 'running' AND q.status = 'queued'
          AND (q.due_at IS NULL OR q.due_at <= clock_timestamp())""",
)


def claim_local(run_id: UUID, known: list[int]) -> ClaimedTask | None:
    """Take the next due task of a run that is executed in this process.

    known: ids of tasks that are likely to be due, which are taken from it; without one the run is searched, and a
    long one is long to search.
    """
    lease_id = new_lease_id()
    found: list[ClaimedTask] = []
    while known and not found:
        found = equipped(tasks_of(db.rows(TAKE_LOCAL_ONE, [lease_id, known.pop(0)]), "", lease_id))
    if not found:
        found = equipped(tasks_of(db.rows(TAKE_LOCAL_NEXT, [lease_id, run_id]), "", lease_id))
    for task in found:
        task.is_local = True
        return task
    return None
