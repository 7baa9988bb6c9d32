"""The history of attempts: how each ended, and results that came too late."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_workflow import db
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.statuses import SKIPPED, SUCCEEDED

# the worker is the claim's: the row has none once its task is put back, and another one after a loss
INSERT_ATTEMPTS = """
    INSERT INTO django_workflow_attempt
        (run_id, task_id, lease_id, number, is_counted, begun_at, ended_at, outcome, error_class, message, traceback,
         fingerprint, worker_id, reason, missing_code)
    SELECT a.run_id, a.task_id, a.lease_id, a.number, a.is_counted,
           clock_timestamp() - make_interval(secs => a.begun_ago),
           clock_timestamp() - make_interval(secs => a.ended_ago),
           a.outcome, a.error_class, a.message, a.traceback, a.fingerprint, a.worker_id,
           a.reason, a.missing_code
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::int[], %s::bool[], %s::float8[], %s::float8[], %s::text[],
                %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[])
         AS a(run_id, task_id, lease_id, number, is_counted, begun_ago, ended_ago, outcome, error_class, message,
              traceback, fingerprint, worker_id, reason, missing_code)
    WHERE NOT EXISTS (SELECT 1 FROM django_workflow_attempt x WHERE x.task_id = a.task_id AND x.lease_id = a.lease_id)
"""


def record_attempts(endings: Sequence[Ending]) -> None:
    """Insert a row for every attempt that ended otherwise than by success."""
    now = time.monotonic()
    values = []
    for item in endings:
        outcome, task = item.outcome, item.outcome.task
        if outcome.kind in (SUCCEEDED, SKIPPED):
            continue
        error = outcome.error or ErrorRecord("", outcome.words)
        values.append((
            task.run_id, task.id, task.lost_lease_id if outcome.was_lost_before else task.lease_id, outcome.attempt,
            outcome.is_counted, None if outcome.begun_at is None else now - outcome.begun_at,
            0.0 if outcome.ended_at is None else now - outcome.ended_at, outcome.kind,
            error.error_class[:200], error.message, error.traceback, error.fingerprint if outcome.error else "",
            task.lost_worker_id if outcome.was_lost_before else task.worker_id, outcome.reason, outcome.missing_code,
        ))  # fmt: skip
    if values:
        db.add(INSERT_ATTEMPTS, [list(column) for column in zip(*values, strict=True)])


# the same outcome again is the repetition of a settle whose answer was lost
RECORD_SUPERSEDED = """
    UPDATE django_workflow_attempt a SET superseded_at = clock_timestamp(), late_outcome = l.outcome
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS l(task_id, lease_id, outcome)
    WHERE a.task_id = l.task_id AND a.lease_id = l.lease_id AND a.superseded_at IS NULL
      AND l.outcome NOT IN ('released', a.outcome)
"""


def record_superseded(late: Sequence[Ending]) -> None:
    """Mark the attempts of late results; where the attempt has no row yet, or was applied, nothing happens."""
    if late:
        tasks = [item.outcome.task for item in late]
        kinds = [item.outcome.kind for item in late]
        # the attempt's own row may have been added before
        db.then(RECORD_SUPERSEDED, [[task.id for task in tasks], [task.lease_id for task in tasks], kinds])
