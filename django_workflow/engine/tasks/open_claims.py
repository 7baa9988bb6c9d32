"""Claims whose answer was lost: nobody knows what they took, but what they took carries their lease."""

from __future__ import annotations

from itertools import starmap

from django_workflow import db
from django_workflow.engine.tasks.claim import COLUMNS, claimed
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim

# What an earlier attempt lost is left out: only its row knows whether that one had begun, and the claim that meets it
# after the lease counts that.
CARRIED = db.select(
    claimed, **COLUMNS | {"item": "NULL::text"}, is_lost="false", lost_lease_id="NULL::bigint",
    version_id="r.version_id", is_input_read="false", input="NULL::text", lost_worker_id="NULL::bigint",
    queue="t.queue", lease_id="t.lease_id",
)  # fmt: skip
READ_CARRIERS = f"""
    SELECT {CARRIED}
    FROM django_workflow_task t
    JOIN django_workflow_steprun s ON s.id = t.step_run_id
    JOIN django_workflow_run r ON r.id = t.run_id
    WHERE t.id = ANY(%s::bigint[]) AND t.lease_id = %s AND t.status = 'running'
      AND (t.attempt = 1 OR EXISTS (
               SELECT 1 FROM django_workflow_attempt a WHERE a.task_id = t.id AND a.number = t.attempt - 1))
"""


def carriers(claim: OpenClaim) -> list[ClaimedTask]:
    """Return the tasks that carry a claim's lease, as they are handed back; nothing that a handler needs is read."""
    tasks = starmap(claimed, db.rows(READ_CARRIERS, [claim.task_ids, claim.lease_id]))
    return [task for task in tasks if task is not None]
