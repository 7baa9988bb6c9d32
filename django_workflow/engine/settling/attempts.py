"""The history of attempts: how each ended, and results that came too late."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_workflow import db
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.statuses import SKIPPED, SUCCEEDED

ATTEMPTS = db.Columns(
    "a", run_id="uuid", task_id="bigint", lease_id="bigint", number="int", is_counted="bool", begun_ago="float8",
    ended_ago="float8", outcome="text", error_class="text", message="text", traceback="text", fingerprint="text",
    worker_id="bigint", reason="text", missing_code="text",
)  # fmt: skip
# the worker is the claim's: the row has none once its task is put back, and another one after a loss
INSERT_ATTEMPTS = f"""
    INSERT INTO django_workflow_attempt
        (run_id, task_id, lease_id, number, is_counted, begun_at, ended_at, outcome, error_class, message, traceback,
         fingerprint, worker_id, reason, missing_code)
    SELECT a.run_id, a.task_id, a.lease_id, a.number, a.is_counted,
           clock_timestamp() - make_interval(secs => a.begun_ago),
           clock_timestamp() - make_interval(secs => a.ended_ago),
           a.outcome, a.error_class, a.message, a.traceback, a.fingerprint, a.worker_id,
           a.reason, a.missing_code
    FROM {ATTEMPTS}
    WHERE NOT EXISTS (SELECT 1 FROM django_workflow_attempt x WHERE x.task_id = a.task_id AND x.lease_id = a.lease_id)
"""


def record_attempts(endings: Sequence[Ending]) -> None:
    """Insert a row for every attempt that ended otherwise than by success."""
    now = time.monotonic()
    rows = []
    for item in endings:
        outcome, task = item.outcome, item.outcome.task
        if outcome.kind in (SUCCEEDED, SKIPPED):
            continue
        error = outcome.error or ErrorRecord("", outcome.words)
        rows.append(ATTEMPTS.row(
            run_id=task.run_id, task_id=task.id, number=outcome.attempt, is_counted=outcome.is_counted,
            lease_id=task.lost_lease_id if outcome.was_lost_before else task.lease_id,
            worker_id=task.lost_worker_id if outcome.was_lost_before else task.worker_id,
            begun_ago=None if outcome.begun_at is None else now - outcome.begun_at,
            ended_ago=0.0 if outcome.ended_at is None else now - outcome.ended_at, outcome=outcome.kind,
            error_class=error.error_class[:200], message=error.message, traceback=error.traceback,
            fingerprint=error.fingerprint if outcome.error else "", reason=outcome.reason,
            missing_code=outcome.missing_code,
        ))  # fmt: skip
    if rows:
        db.add(INSERT_ATTEMPTS, ATTEMPTS.params(rows))


# the same outcome again is the repetition of a settle whose answer was lost
LATE = db.Columns("l", task_id="bigint", lease_id="bigint", outcome="text")
RECORD_SUPERSEDED = f"""
    UPDATE django_workflow_attempt a SET superseded_at = clock_timestamp(), late_outcome = l.outcome
    FROM {LATE}
    WHERE a.task_id = l.task_id AND a.lease_id = l.lease_id AND a.superseded_at IS NULL
      AND l.outcome NOT IN ('released', a.outcome)
"""


def record_superseded(late: Sequence[Ending]) -> None:
    """Mark the attempts of late results; where the attempt has no row yet, or was applied, nothing happens."""
    if late:
        outcomes = [item.outcome for item in late]
        rows = [LATE.row(task_id=each.task.id, lease_id=each.task.lease_id, outcome=each.kind) for each in outcomes]
        # the attempt's own row may have been added before
        db.then(RECORD_SUPERSEDED, LATE.params(rows))
