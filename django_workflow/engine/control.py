"""Operators' verbs on runs: `cancel`; each names who and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import OperationalError

from django_workflow import db, text
from django_workflow.engine import close, cut_off, publish
from django_workflow.engine.advance import LockedRun
from django_workflow.engine.records import EventLog
from django_workflow.engine.settle import lock_runs, notifications
from django_workflow.engine.telling import Telling
from django_workflow.exceptions import AlreadySettled, RunBusy, RunNotFound
from django_workflow.statuses import CANCELLED, RUN_TERMINAL

#: How long a verb waits for a run that a settle holds.
WAIT_MS = 10_000

END_RUNS = """
    UPDATE django_workflow_run r
    SET status = %s, open_steps = 0, ended_at = clock_timestamp(), error = %s::jsonb
    WHERE r.id = ANY(%s::uuid[])
    RETURNING r.id, r.version_id, r.variables_id
"""


def cancel(run_ids: Sequence[UUID], *, reason: str = "", by: str = "") -> None:
    """End runs as cancelled: queued tasks are cancelled, running handlers are told to stop.

    reason, by: recorded with the run and its event.
    A run that is cancelled already is left as it is. Raises `RunNotFound`, and `AlreadySettled` for
    one that ended otherwise; then none is changed.
    """
    reason, by = text.remarks(reason, by)
    with db.atomic():
        runs = lock_unsettled(run_ids, unless=CANCELLED)
        open_ids = [run_id for run_id, run in runs.items() if run.status != CANCELLED]
        cancelled = end_runs(open_ids, CANCELLED, "run.cancelled", reason=reason or "cancelled", by=by)
    db.notify_after_commit(notifications(runs=open_ids, cancelled=cancelled))


def lock_patiently(run_ids: Iterable[UUID]) -> dict[UUID, LockedRun]:
    """Lock the runs that a verb is about; raises `RunBusy` where somebody else holds one for too long."""
    try:
        return lock_runs(run_ids, wait_ms=WAIT_MS)
    except OperationalError as error:
        if not db.is_lock_timeout(error):
            raise
        raise RunBusy(
            f"Another transaction has held the run for {WAIT_MS // 1000} s. Nothing was changed; try again when it has "
            "ended."
        ) from error


def lock_unsettled(run_ids: Sequence[UUID], *, unless: str = "") -> dict[UUID, LockedRun]:
    """Lock the runs that a verb is about.

    unless: a terminal status that is no objection, for the verb has taken effect.
    Raises `RunNotFound`, and `AlreadySettled` for a run that has ended.
    """
    runs = lock_patiently(run_ids)
    for run_id in run_ids:
        if run_id not in runs:
            raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
        status = runs[run_id].status
        if status in RUN_TERMINAL and status != unless:
            raise AlreadySettled(f"Run {run_id} has already ended {status}.", run_id=run_id, status=status)
    return runs


def end_runs(run_ids: Sequence[UUID], status: str, event: str, *, reason: str, by: str = "") -> set[UUID]:
    """End unsettled runs whose locks the caller holds; returns those in which a handler was running."""
    if not run_ids:
        return set()
    error = {"step": "", "class": status, "message": reason} | ({"by": by} if by else {})
    ended = db.rows(END_RUNS, [status, json.dumps(error), list(run_ids)])
    cut_off.store_outputs(ended)
    cancelled = close.close_runs(dict.fromkeys(run_ids, status))
    events = EventLog()
    for run_id in run_ids:
        events.run(run_id, event, {"reason": reason} | ({"by": by} if by else {}))
    events.write()
    telling = Telling()
    for run_id, version_id, _ in ended:
        telling.ends(run_id, status)
        if status != CANCELLED:
            telling.fails(run_id, publish.spec_of(version_id).slug, status, error)
    telling.after_commit()
    return cancelled
