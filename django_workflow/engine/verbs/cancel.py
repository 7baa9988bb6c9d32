"""Operators' verbs on runs: `cancel`; each names who and why."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_workflow import db, text
from django_workflow.engine.stored.locking import lock_unsettled
from django_workflow.engine.writing import runs
from django_workflow.notifications import notifications
from django_workflow.statuses import CANCELLED


def cancel(run_ids: Sequence[UUID], *, reason: str = "", by: str = "") -> None:
    """End runs as cancelled: queued tasks are cancelled, running handlers are told to stop.

    reason, by: recorded with the run and its event.
    A run that is cancelled already is left as it is. Raises `RunNotFound`, and `AlreadySettled` for
    one that ended otherwise; then none is changed.
    """
    reason, by = text.remarks(reason, by)
    with db.atomic():
        unsettled = [run for run in lock_unsettled(run_ids, unless=CANCELLED).values() if run.status != CANCELLED]
        cancelled = runs.end(unsettled, CANCELLED, reason=reason or "cancelled", by=by)
    db.notify_after_commit(notifications(runs=[run.id for run in unsettled], cancelled=cancelled))
