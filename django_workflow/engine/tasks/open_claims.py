"""Claims whose answer was lost: nobody knows what they took, but what they took carries their lease."""

from __future__ import annotations

from django_workflow import db
from django_workflow.engine.stored import versions
from django_workflow.engine.tasks.claim import VERSION, claimed
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim

# What an earlier attempt lost is left out: only its row knows whether that one had begun, and the claim that meets it
# after the lease counts that.
READ_CARRIERS = """
    SELECT t.id, t.run_id, t.step_run_id, t.message_id, t.index, t.attempt, t.failure_count, t.lost_count,
           NULL::text, t.begun_at IS NOT NULL, false, NULL::bigint, s.step, s.iteration, s.scope, s.variables_id,
           r.version_id, extract(epoch FROM clock_timestamp() - t.created_at)::float8, false, NULL::text, s.source_id,
           t.worker_id, NULL::bigint, t.queue
    FROM django_workflow_task t
    JOIN django_workflow_steprun s ON s.id = t.step_run_id
    JOIN django_workflow_run r ON r.id = t.run_id
    WHERE t.id = ANY(%s::bigint[]) AND t.lease_id = %s AND t.status = 'running'
      AND (t.attempt = 1 OR EXISTS (
               SELECT 1 FROM django_workflow_attempt a WHERE a.task_id = t.id AND a.number = t.attempt - 1))
"""


def carriers(claim: OpenClaim) -> list[ClaimedTask]:
    """Return the tasks that carry a claim's lease, as they are handed back; nothing that a handler needs is read."""
    found = db.rows(READ_CARRIERS, [claim.task_ids, claim.lease_id])
    return [claimed(row[:-1], row[-1], claim.lease_id) for row in found if versions.readable_spec(row[VERSION])]
