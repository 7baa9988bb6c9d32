"""Operators' verbs on runs: `cancel`; each names who and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from django_workflow import db, text
from django_workflow.engine.reporting.report import Telling
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import lock_unsettled
from django_workflow.engine.writing import cancel_open, partial_output
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.notifications import notifications
from django_workflow.statuses import CANCELLED

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


def end_runs(run_ids: Sequence[UUID], status: str, event: str, *, reason: str, by: str = "") -> set[UUID]:
    """End unsettled runs whose locks the caller holds; returns those in which a handler was running."""
    if not run_ids:
        return set()
    error = {"step": "", "class": status, "message": reason} | ({"by": by} if by else {})
    ended = db.rows(END_RUNS, [status, json.dumps(error), list(run_ids)])
    partial_output.store_outputs(ended)
    cancelled = cancel_open.close_runs(dict.fromkeys(run_ids, status))
    events = EventLog()
    for run_id in run_ids:
        events.run(run_id, event, {"reason": reason} | ({"by": by} if by else {}))
    events.write()
    telling = Telling()
    for run_id, version_id, _ in ended:
        telling.ends(run_id, status)
        if status != CANCELLED:
            telling.fails(run_id, versions.spec_of(version_id).slug, status, error)
    telling.after_commit()
    return cancelled
