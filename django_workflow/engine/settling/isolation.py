"""What cannot be written for one run: the others go on, and it ends as failed, for nobody could write it later either.

The last resort. What is known to be refused (a value that is too large, a delay of a thousand years) fails a run in
its decision, where the place is known; this is for what nobody thought of.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from django_workflow import db
from django_workflow.engine.reporting.report import Telling
from django_workflow.engine.routing.facts import error_of
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.engine.writing import cancel_open
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.statuses import FAILED

logger = logging.getLogger("django_workflow")

FAIL_UNSETTLED_RUN = """
    UPDATE django_workflow_run
    SET status = 'failed', open_steps = 0, ended_at = clock_timestamp(), error = %s::jsonb
    WHERE id = %s AND status IN ('running', 'paused')
    RETURNING (SELECT slug FROM django_workflow_flowdefinition WHERE id = flow_id)
"""


def fail_run(run_id: UUID, error: Exception) -> set[UUID]:
    """End a run whose lock the caller holds as failed with `error`; returns it where a handler was running in it.

    A run that has settled stays as it is.
    """
    record = ErrorRecord.of(error)
    told = error_of("", record.error_class, record.message)
    cancel_open.begin_scheduled([run_id])
    found = db.rows(FAIL_UNSETTLED_RUN, [json.dumps(told), run_id])
    if not found:
        return set()
    telling = Telling()
    telling.fails(run_id, found[0][0], FAILED, told, error)
    telling.ends(run_id, FAILED)
    telling.after_commit()
    cancelled = cancel_open.close_runs({run_id: FAILED})
    events = EventLog()
    events.run(run_id, "run.failed", told)
    events.write()
    return cancelled


def each_apart(
    run_ids: Sequence[UUID], work: Callable[[Sequence[UUID]], int], fail: Callable[[UUID, Exception], None]
) -> int:
    """Do the work for all runs at once; where that is refused, for each alone, so that only the culprit stays behind.

    work: does it in a transaction of its own. fail: ends a run whose data is refused, as `fail_run` does; any other
    error leaves the run for the next time.
    Returns how much was done. Errors of the connection are raised.
    """
    try:
        return db.with_fresh_ids(lambda: work(run_ids)) if run_ids else 0
    except Exception as error:
        if db.is_of_connection(error):
            raise
        refusal = error
    if len(run_ids) > 1:
        return sum(_alone(run_id, work, fail) for run_id in run_ids)
    if not db.is_for_good(refusal):
        logger.warning("run is left for the next time: %s", db.for_logs(refusal), extra={"run_id": str(run_ids[0])})
        return 0
    fail(run_ids[0], refusal)
    return 1


def _alone(run_id: UUID, work: Callable[[Sequence[UUID]], int], fail: Callable[[UUID, Exception], None]) -> int:
    """Do the work for one of many; not even a run that cannot be failed keeps those behind it waiting."""
    try:
        return each_apart([run_id], work, fail)
    except Exception as error:
        if db.is_of_connection(error):
            raise
        told = db.for_logs(error)
        logger.error("run cannot even fail: %s", told, extra={"run_id": str(run_id)})  # noqa: TRY400  not its text
        return 0
