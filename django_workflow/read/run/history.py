"""What happened in runs: their events, and what their handlers logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db.models import Q, QuerySet

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.models import Event, TaskLog

#: Numbers of events are 32 bits, ids of lines 64.
LAST_EVENT: Final = 2**31 - 1
LAST_LINE: Final = 2**63 - 1


def past_events(run_id: UUID | None, types: Sequence[str], most: int) -> list[Event]:
    """Return the last events, of a run or of all, oldest first; types as for `follow`."""
    found = Event.objects.using(conf.DATABASE).filter(_of_types(types))
    chosen = found.order_by("-id") if run_id is None else found.filter(run_id=run_id).order_by("-number")
    return list(chosen[:most])[::-1]


def later_events(run_id: UUID, types: Sequence[str], number: int) -> Iterator[Event]:
    """Return the events of a run behind a number, in order."""
    found = Event.objects.using(conf.DATABASE).filter(_of_types(types), run_id=run_id, number__gt=number)
    return iter(found.order_by("number").iterator())


def _of_types(types: Sequence[str]) -> Q:
    chosen = Q()
    for name in types:
        chosen |= Q(type__startswith=name[:-1]) if name.endswith(".*") else Q(type=name)
    return chosen


def lines(run_id: UUID, step: str, level: int) -> QuerySet[TaskLog]:
    """Return what handlers of a run logged, newest first.

    step: only of this one; "" for all. level: only from this one on.
    """
    found = TaskLog.objects.using(conf.DATABASE).filter(run_id=run_id, level__gte=level)
    if step:
        found = found.filter(task__step_run__step=step)
    return found.select_related("task__step_run").order_by("-id")


READ_EVENTS = """
    SELECT number, created_at, type, step, task_id, left(data->>'by', 150), left(data->>'reason', 500),
           left(data->>'why', 500), left(data->>'class', 200), data->>'mode', left(data->>'from_step', 128),
           left(data->>'retry_of', 40), CASE WHEN jsonb_typeof(data->'attempt') = 'number' THEN data->>'attempt' END,
           CASE WHEN type = 'step.started' THEN left(data->>'iteration', 20) END,
           CASE WHEN type = 'step.started' THEN left(data->>'scope', 20) END,
           CASE WHEN type = 'step.left_over' THEN data END,
           type = 'step.skipped' AND jsonb_exists(data, 'message'),
           CASE WHEN %s::bool THEN left(data->>'message', 1000) END,
           CASE WHEN %s::bool THEN left(data::text, 1000) END
    FROM django_workflow_event
    WHERE run_id = %s::uuid AND number < %s::int AND (%s::text = '' OR step = %s::text)
      AND CASE %s::text
          WHEN '' THEN true
          WHEN 'own' THEN type !~ '^(run|step|task)[.]'
          ELSE starts_with(type, %s::text || '.') END
    ORDER BY number DESC LIMIT %s::int
"""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event with what its data say, cut to what a page shows."""

    number: int
    created_at: datetime
    type: str
    step: str
    task_id: int | None
    by: str | None
    reason: str | None
    why: str | None
    error_class: str | None
    mode: str | None
    from_step: str | None
    retry_of: str | None
    attempt: str | None
    iteration: str | None
    scope: str | None
    #: Of a join: who reached it and who did not, as JSON.
    left_over: str | None
    has_skip_message: bool | None
    #: What a handler says, as the next one: None without the permission to view payloads.
    message: str | None
    data: str | None


def read_events(
    run_id: UUID, most: int, *, before: int | None, kind: str, step: str, has_payload: bool
) -> list[EventRow]:
    """Read the newest events of a run, the newest first: one statement.

    before: only those with lower numbers. kind: of runs, steps, tasks, or "own" for those of handlers; "" for all.
    step: only of this one; "" for all.
    """
    last = min(before or LAST_EVENT, LAST_EVENT)
    params = [has_payload, has_payload, run_id, last, step, step, kind, kind, most]
    return [EventRow(*row) for row in db.rows(READ_EVENTS, params)]


READ_LINES = """
    SELECT id, attempt, level, created_at, logger, message FROM django_workflow_tasklog
    WHERE task_id = %s::bigint AND id < %s::bigint ORDER BY id DESC LIMIT %s::int
"""
LEVELS: Final = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"), (0, "debug"))


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a handler logged."""

    id: int
    attempt: int
    level: int
    created_at: datetime
    logger: str
    message: str

    @property
    def level_name(self) -> str:
        """The level in a word."""
        return next(name for least, name in LEVELS if self.level >= least)


def read_lines(task_id: int, before: int | None, most: int) -> list[LogLine]:
    """Read the newest lines that a task's handler logged, the newest first: one statement."""
    return [LogLine(*row) for row in db.rows(READ_LINES, [task_id, before or LAST_LINE, most])]
