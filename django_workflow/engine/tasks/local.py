"""Taking tasks of local runs, which have no messages."""

from __future__ import annotations

from uuid import UUID

from django_workflow import db
from django_workflow.engine.tasks.claim import tasks_of
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.ids import new_lease_id

# the condition on the status is read again by PostgreSQL under the row's lock
TAKE_LOCAL = """
    UPDATE django_workflow_task t
    SET status = 'running', lease_id = %s, attempt = t.attempt + 1, begun_at = clock_timestamp()
    FROM django_workflow_steprun s, django_workflow_run r
    WHERE t.id = (
        {wanted}
        FOR NO KEY UPDATE OF q
    ) AND s.id = t.step_run_id AND r.id = t.run_id
    RETURNING t.id, t.run_id, t.step_run_id, t.message_id, t.index, t.attempt, t.failure_count, t.lost_count,
              t.item, true, false, NULL::bigint, s.step, s.iteration, s.scope, s.variables_id, r.version_id,
              extract(epoch FROM clock_timestamp() - t.created_at)::float8, true, r.input,
              s.source_id, NULL::bigint, NULL::bigint
"""
TAKE_LOCAL_NEXT = TAKE_LOCAL.format(
    wanted="""
        SELECT q.id FROM django_workflow_task q JOIN django_workflow_steprun o ON o.id = q.step_run_id
        WHERE o.run_id = %s AND o.status = 'running' AND q.status = 'queued'
          AND (q.due_at IS NULL OR q.due_at <= clock_timestamp())
        ORDER BY q.step_run_id, q.index LIMIT 1"""
)
TAKE_LOCAL_ONE = TAKE_LOCAL.format(
    wanted="""
        SELECT q.id FROM django_workflow_task q JOIN django_workflow_steprun o ON o.id = q.step_run_id
        WHERE q.id = %s AND o.status = 'running' AND q.status = 'queued'
          AND (q.due_at IS NULL OR q.due_at <= clock_timestamp())"""
)


def claim_local(run_id: UUID, known: list[int]) -> ClaimedTask | None:
    """Take the next due task of a run that is executed in this process.

    known: ids of tasks that are likely to be due, which are taken from it; without one the run is searched, and a
    long one is long to search.
    """
    lease_id = new_lease_id()
    found: list[ClaimedTask] = []
    while known and not found:
        found = tasks_of(db.rows(TAKE_LOCAL_ONE, [lease_id, known.pop(0)]), "", lease_id)
    if not found:
        found = tasks_of(db.rows(TAKE_LOCAL_NEXT, [lease_id, run_id]), "", lease_id)
    for task in found:
        task.is_local = True
        return task
    return None
