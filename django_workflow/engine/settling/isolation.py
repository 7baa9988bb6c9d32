"""What cannot be written for one run: the others go on, and it ends as failed, for nobody could write it later either.

The last resort. What is known to be refused (a value that is too large, a delay of a thousand years) fails a run in
its decision, where the place is known; this is for what nobody thought of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from django_workflow import db
from django_workflow.engine.stored.locking import lock_runs
from django_workflow.engine.writing import runs
from django_workflow.notifications import notifications

logger = logging.getLogger("django_workflow")


def fail_run(run_id: UUID, error: Exception, *, wait_ms: int | None = None, only: str = "true") -> None:
    """End a run as failed with `error`, where it can be locked; wait_ms, only: as `lock_runs` takes them."""
    cancelled: set[UUID] = set()
    with db.atomic():
        for run in lock_runs([run_id], wait_ms=wait_ms, only=only).values():
            cancelled = runs.fail(run, error)
    db.notify_after_commit(notifications(runs=[run_id], cancelled=cancelled))


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
