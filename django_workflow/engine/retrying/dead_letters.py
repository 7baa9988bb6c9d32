"""Retrying the runs of dead letters, and dismissing them: failed tasks that ended their runs."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django_workflow import arguments, db, text
from django_workflow.conf import conf
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.engine.retrying.retry import retry
from django_workflow.engine.stored.locking import lock_patiently
from django_workflow.exceptions import InvalidArgument, NotSupported
from django_workflow.models import Task

LATEST_RETRIES = """
    SELECT DISTINCT ON (retry_of_id) retry_of_id, id FROM django_workflow_run
    WHERE retry_of_id = ANY(%s::uuid[]) ORDER BY retry_of_id, id DESC
"""


def retry_dead_letters(task_ids: Sequence[int], *, reason: str = "", by: str = "") -> list[UUID]:
    """Retry the runs of dead letters, each once, all in one transaction; return the new runs in the runs' order.

    A run that was retried before is not retried again: its latest retry is returned.
    Raises `NotSupported` for tasks that are no dead letters, and as `retry` does; then no run is made.
    """
    task_ids = _checked(task_ids)
    with db.atomic():
        found = _runs_of(task_ids)
        unknown = sorted(set(task_ids) - set(found))
        if unknown:
            raise NotSupported(f"No dead letters: {', '.join(map(str, unknown))}.", task_ids=unknown)
        run_ids = sorted(set(found.values()))
        # all of them first and in order: the retries below lock one by one
        lock_patiently(run_ids)
        known: dict[UUID, UUID] = dict(db.rows(LATEST_RETRIES, [run_ids]))
        request = RetryRequest(reason=reason, by=by)
        return [known.get(run_id) or retry(run_id, request).id for run_id in run_ids]


DISMISS = """
    INSERT INTO django_workflow_dismissal (task_id, run_id, "by", reason)
    SELECT n.task_id, n.run_id, %s, %s FROM unnest(%s::bigint[], %s::uuid[]) AS n(task_id, run_id) ORDER BY n.task_id
    ON CONFLICT (task_id) DO NOTHING
    RETURNING task_id
"""


def dismiss_dead_letters(task_ids: Sequence[int], *, reason: str, by: str) -> int:
    """Record that dead letters need nothing more; return how many were dismissed by this call.

    reason: needed, for whoever asks later. Letters dismissed before keep their reason.
    """
    reason, by = text.remarks(reason, by)
    if not reason.strip():
        raise InvalidArgument("a dismissal needs a reason")
    found = _runs_of(_checked(task_ids))
    return len(db.rows(DISMISS, [by, reason, list(found), list(found.values())])) if found else 0


def _runs_of(task_ids: list[int]) -> dict[int, UUID]:
    """Return the runs of tasks whose failure ended them and which were not dismissed; a run may be retried by now."""
    tasks = Task.objects.using(conf.DATABASE).fatal().filter(pk__in=task_ids)
    return dict(tasks.values_list("pk", "run_id"))


def _checked(task_ids: Sequence[int]) -> list[int]:
    return [arguments.whole(task_id, "task_ids=") for task_id in arguments.items(task_ids, "task_ids=")]
