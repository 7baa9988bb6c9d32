"""Tasks that a process hands back because it does not have their code."""

from __future__ import annotations

from django_workflow import db
from django_workflow.engine.tasks.claimed import ClaimedTask
from django_workflow.statuses import NO_CODE_REASONS

SECONDS_UNKNOWN = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(ended_at)), 0)::float8 FROM django_workflow_attempt
    WHERE task_id = %s AND outcome = 'released' AND reason = ANY(%s)
"""


def seconds_unknown(task: ClaimedTask) -> float:
    """Return how long ago a process first handed this task back because it did not have its code."""
    seconds: float = db.rows(SECONDS_UNKNOWN, [task.id, list(NO_CODE_REASONS)])[0][0]
    return seconds
