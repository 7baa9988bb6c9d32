"""Tasks that a process hands back because it does not have their code."""

from __future__ import annotations

from django_workflow import db
from django_workflow.engine.tasks.claimed import ClaimedTask

#: The reason for which a task is handed back by a process without its code, and how it is found again.
UNKNOWN = "no {} in this process"
ANY_UNKNOWN = UNKNOWN.format("%")
SECONDS_UNKNOWN = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(ended_at)), 0)::float8 FROM django_workflow_attempt
    WHERE task_id = %s AND outcome = 'released' AND message LIKE %s
"""


def seconds_unknown(task: ClaimedTask) -> float:
    """Return how long ago a process first handed this task back because it did not have its code."""
    seconds: float = db.rows(SECONDS_UNKNOWN, [task.id, ANY_UNKNOWN])[0][0]
    return seconds
