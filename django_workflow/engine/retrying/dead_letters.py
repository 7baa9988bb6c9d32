"""Dead letters: failed tasks of failed runs, until their run is retried or they are dismissed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django_workflow import arguments, db, text
from django_workflow.definition.names import is_name, is_queue_name
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.engine.retrying.retry import retry
from django_workflow.engine.stored.locking import lock_patiently
from django_workflow.exceptions import InvalidArgument, NotSupported, UnknownFlow, UnknownQueue


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task whose failure ended its run, and which nobody has taken care of yet.

    index: its place in a map step. attempts: how many of its attempts count. error_class, message, fingerprint:
    of the last attempt; the fingerprint is equal for errors that differ in numbers and quoted values only.
    """

    task_id: int
    run_id: UUID
    flow: str
    step: str
    index: int
    error_class: str
    message: str
    fingerprint: str
    failed_at: datetime
    attempts: int


# a failure that was tolerated, or for which its step was skipped, ended no run: its step has not failed
LIST = """
    SELECT t.id, r.id, f.slug, s.step, t.index, coalesce(a.error_class, ''), coalesce(a.message, ''),
           coalesce(a.fingerprint, ''), t.ended_at, t.failure_count
    FROM django_workflow_run r
    JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
    JOIN django_workflow_steprun s ON s.run_id = r.id AND s.status = 'failed'
    JOIN django_workflow_task t ON t.step_run_id = s.id AND t.status = 'failed'
    LEFT JOIN LATERAL (
        SELECT error_class, message, fingerprint FROM django_workflow_attempt x
        WHERE x.task_id = t.id ORDER BY x.number DESC, x.id DESC LIMIT 1
    ) a ON true
    WHERE r.status = 'failed'
      AND NOT EXISTS (SELECT 1 FROM django_workflow_run n WHERE n.retry_of_id = r.id)
      AND NOT EXISTS (SELECT 1 FROM django_workflow_dismissal d WHERE d.task_id = t.id)
      AND coalesce(f.slug = %s, true) AND coalesce(t.queue = %s, true)
    ORDER BY r.id DESC, t.id LIMIT %s OFFSET %s
"""


def dead_letters(
    flow: str | None = None, queue: str | None = None, limit: int = 100, offset: int = 0
) -> list[DeadLetter]:
    """Return dead letters, those of the newest runs first.

    flow, queue: only of this flow, only of this queue. limit, offset: a page of them.
    Raises `UnknownFlow`, `UnknownQueue` for what can be the name of none, and `InvalidArgument`.
    """
    if flow is not None and not is_name(flow):
        raise UnknownFlow(f"There is no flow {text.shown(flow)}.")
    if queue is not None and not is_queue_name(queue):
        raise UnknownQueue(f"There is no queue {text.shown(queue)}.")
    page = [arguments.whole(limit, "limit="), arguments.whole(offset, "offset=")]
    return [DeadLetter(*row) for row in db.rows(LIST, [flow, queue, *page])]


RUNS_OF = """
    SELECT t.id, r.id FROM django_workflow_task t
    JOIN django_workflow_steprun s ON s.id = t.step_run_id AND s.status = 'failed'
    JOIN django_workflow_run r ON r.id = t.run_id AND r.status = 'failed'
    WHERE t.id = ANY(%s::bigint[]) AND t.status = 'failed'
      AND NOT EXISTS (SELECT 1 FROM django_workflow_dismissal d WHERE d.task_id = t.id)
"""
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
        found: dict[int, UUID] = dict(db.rows(RUNS_OF, [task_ids]))
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
    SELECT t.id, t.run_id, %s, %s FROM django_workflow_task t
    JOIN django_workflow_steprun s ON s.id = t.step_run_id AND s.status = 'failed'
    JOIN django_workflow_run r ON r.id = t.run_id AND r.status = 'failed'
    WHERE t.id = ANY(%s::bigint[]) AND t.status = 'failed'
    ORDER BY t.id
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
    return len(db.rows(DISMISS, [by, reason, _checked(task_ids)]))


def _checked(task_ids: Sequence[int]) -> list[int]:
    return [arguments.whole(task_id, "task_ids=") for task_id in arguments.items(task_ids, "task_ids=")]
