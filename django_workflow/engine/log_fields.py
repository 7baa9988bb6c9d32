"""The stable keys of log records about a task."""

from __future__ import annotations

from typing import Any

from django_workflow.engine.claim import ClaimedTask


def log_fields(task: ClaimedTask) -> dict[str, Any]:
    """Return the stable keys of structured log records about a task; never its payload."""
    return {
        "run_id": str(task.run_id),
        "flow": task.spec.slug,
        "step": task.step.name,
        "queue": task.queue,
        "task": task.id,
        "attempt": task.attempt,
    }
