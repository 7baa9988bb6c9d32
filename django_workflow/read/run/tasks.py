"""Tasks of a run with their attempts: those that a page shows, and one in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from django_workflow import db, payload, times
from django_workflow.conf import conf
from django_workflow.models import Attempt
from django_workflow.statuses import CANCELLED, FAILED, HELD, LOST, QUEUED, RELEASED, TIMED_OUT

#: Of each task, the last so many attempts.
MOST_ATTEMPTS: Final = 20
#: Tasks of steps without items that are read at once.
MOST_TASKS: Final = 500
#: Characters of a traceback and of a message.
MOST_TRACEBACK: Final = 20_000


@dataclass(slots=True)
class Try:
    """One attempt, as far as bars and lists show it."""

    number: int
    outcome: str
    begun_at: datetime | None
    ended_at: datetime | None
    error_class: str = ""


T = TypeVar("T", bound=Try)


def counted_attempts(task: Any) -> int:
    """Return how many attempts of a task count: those that were released, or lost before they began, do not."""
    is_counted = task.begun_at is not None and task.status not in (QUEUED, HELD, FAILED)
    return int(task.failure_count) + is_counted


@dataclass(slots=True)
class TaskFacts:
    """A task, its attempts that did not succeed, and the worker that has it."""

    id: int
    step_run_id: int
    index: int
    status: str
    hold_reason: str
    #: "carried" over from the run that is retried, or given by an operator ("override"); "" for others.
    origin: str
    queue: str
    attempt: int
    failure_count: int
    progress: float | None
    created_at: datetime
    due_at: datetime | None
    begun_at: datetime | None
    ended_at: datetime | None
    message_id: int | None
    item: str | None
    worker: str | None
    heartbeat_age: float | None
    tries: list[Try] = field(default_factory=list)
    step: str = ""

    @property
    def attempts(self) -> int:
        """How many attempts count so far."""
        return counted_attempts(self)

    @property
    def all_tries(self) -> list[Try]:
        """Every attempt that is known, the present or succeeded one included."""
        is_told = any(item.number == self.attempt for item in self.tries)
        if self.begun_at is None or is_told or self.status in (QUEUED, HELD):
            return self.tries
        return [*self.tries, Try(self.attempt, self.status, self.begun_at, self.ended_at)]


# of steps without items all, of the chosen map a page: what needs a look first
READ_TASKS = """
    WITH wanted AS (
        SELECT t.id, 0 AS place FROM django_workflow_task t WHERE t.step_run_id = ANY(%s::bigint[])
        UNION ALL (
            SELECT t.id, row_number() OVER (
                ORDER BY array_position(ARRAY['failed', 'running', 'suspended', 'queued', 'held'], t.status::text),
                         t.index
            ) AS place
            FROM django_workflow_task t
            WHERE t.step_run_id = %s::bigint AND (%s::text = '' OR t.status = %s::text)
            ORDER BY place LIMIT %s::int OFFSET %s::int
        )
    )
    SELECT wanted.place > 0, t.id, t.step_run_id, t.index, t.status, t.hold_reason, t.origin, t.queue, t.attempt,
           t.failure_count, t.progress, t.created_at, t.due_at, t.begun_at, t.ended_at, t.message_id,
           CASE WHEN %s::bool AND wanted.place > 0 THEN left(t.item::text, 200) END, w.hostname || ':' || w.pid,
           extract(epoch FROM clock_timestamp() - w.heartbeat_at)::float8,
           (SELECT jsonb_agg(jsonb_build_array(a.number, a.outcome, extract(epoch FROM a.begun_at),
                                               extract(epoch FROM a.ended_at), a.error_class) ORDER BY a.number, a.id)
            FROM (SELECT * FROM django_workflow_attempt WHERE task_id = t.id
                  ORDER BY number DESC, id DESC LIMIT %s::int) a)
    FROM wanted JOIN django_workflow_task t ON t.id = wanted.id
    LEFT JOIN django_workflow_worker w ON w.id = t.worker_id
    ORDER BY wanted.place, t.id
"""


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Which items of a map are asked for."""

    #: The map's step run; None for none.
    step_run_id: int | None = None
    #: Only these; "" for all.
    status: str = ""
    limit: int = 50
    offset: int = 0


def read_tasks(
    singles: Sequence[int], page: ItemPage, names: Mapping[int, str], *, has_payload: bool
) -> tuple[list[TaskFacts], list[TaskFacts]]:
    """Read the tasks of step runs without items, and a page of the items of one map: one statement.

    names: of the steps, by the ids of their step runs.
    """
    params = [
        singles[-MOST_TASKS:], page.step_run_id, page.status, page.status, page.limit + 1, page.offset, has_payload,
        MOST_ATTEMPTS,
    ]  # fmt: skip
    tasks: list[TaskFacts] = []
    items: list[TaskFacts] = []
    for is_item, *row, tries in db.rows(READ_TASKS, params):
        task = TaskFacts(*row)
        task.tries = _attempts(Try, tries)
        task.step = names.get(task.step_run_id, "")
        (items if is_item else tasks).append(task)
    return tasks, items


READ_TASK = """
    SELECT s.step, s.iteration, t.id, t.step_run_id, t.index, t.status, t.hold_reason, t.origin, t.queue, t.attempt,
           t.failure_count, t.progress, t.created_at, t.due_at, t.begun_at, t.ended_at, t.message_id, NULL,
           w.hostname || ':' || w.pid, extract(epoch FROM clock_timestamp() - w.heartbeat_at)::float8,
           CASE WHEN %s::bool THEN left(t.item::text, %s::int) END, length(t.item::text),
           CASE WHEN %s::bool THEN left(t.output::text, %s::int) END, length(t.output::text),
           (SELECT jsonb_agg(jsonb_build_array(
                       a.number, a.outcome, extract(epoch FROM a.begun_at), extract(epoch FROM a.ended_at),
                       a.error_class, CASE WHEN %s::bool THEN left(a.message, %s::int) END,
                       CASE WHEN %s::bool THEN left(a.traceback, %s::int) END, a.is_counted, a.late_outcome,
                       a.fingerprint, aw.hostname || ':' || aw.pid) ORDER BY a.number, a.id)
            FROM (SELECT * FROM django_workflow_attempt WHERE task_id = t.id
                  ORDER BY number DESC, id DESC LIMIT %s::int) a
            LEFT JOIN django_workflow_worker aw ON aw.id = a.worker_id)
    FROM django_workflow_task t
    JOIN django_workflow_steprun s ON s.id = t.step_run_id
    LEFT JOIN django_workflow_worker w ON w.id = t.worker_id
    WHERE t.run_id = %s::uuid AND t.id = coalesce(%s::bigint, (
        SELECT id FROM django_workflow_task
        WHERE step_run_id = %s::bigint AND (%s::int IS NULL OR index = %s::int) ORDER BY index LIMIT 1
    ))
"""


@dataclass(slots=True)
class AttemptFacts(Try):
    """An attempt that did not succeed, in full."""

    message: str | None = None
    traceback: str | None = None
    is_counted: bool = False
    late_outcome: str = ""
    #: Equal for errors that differ in numbers and quoted values only; "" where there was none.
    fingerprint: str = ""
    worker: str | None = None
    #: Which of the attempts that count it was; None for one that does not.
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a JSON text."""

    #: None where there is no value, or the viewer may not see it.
    text: str | None
    #: How long it really is; None where there is no value.
    size: int | None


@dataclass(frozen=True, slots=True)
class TaskInFull:
    """A task with all its attempts, its item and its output."""

    task: TaskFacts
    step: str
    iteration: int
    item: Excerpt
    output: Excerpt
    attempts: list[AttemptFacts]


def read_task(
    run_id: UUID,
    task_id: int | None,
    step_run_id: int | None,
    index: int | None,
    *,
    most_item: int,
    most_output: int,
    has_payload: bool,
) -> TaskInFull | None:
    """Read a task by its id, else a step run's: the one with an index, or its first; None where there is none.

    most_item, most_output: characters of them that are read.
    """
    params = [
        has_payload, most_item, has_payload, most_output, has_payload, MOST_TRACEBACK, has_payload, MOST_TRACEBACK,
        MOST_ATTEMPTS, run_id, task_id, step_run_id, index, index,
    ]  # fmt: skip
    for step, iteration, *columns, item, item_size, output, output_size, attempts in db.rows(READ_TASK, params):
        task = TaskFacts(*columns)
        found = _attempts(AttemptFacts, attempts)
        _place(found, task.failure_count)
        task.tries = [*found]
        task.step = step
        return TaskInFull(task, step, iteration, Excerpt(item, item_size), Excerpt(output, output_size), found)
    return None


def _attempts(kind: type[T], text: str | None) -> list[T]:
    """Return attempts from their JSON."""
    return [
        kind(number, outcome, times.of_epoch(begun), times.of_epoch(ended), *rest)
        for number, outcome, begun, ended, *rest in payload.loads(text) or ()
    ]


def _place(attempts: Sequence[AttemptFacts], failures: int) -> None:
    """Number the attempts that count; only the last ones are here, so the numbers come from the end."""
    for attempt in reversed(attempts):
        if attempt.is_counted and attempt.outcome in (FAILED, TIMED_OUT, LOST):
            attempt.place = failures
            failures -= 1


def failed_attempts(step_runs: Sequence[int], most: int) -> list[Attempt]:
    """Return the last attempts of some step runs that did not end as they should, in order."""
    found = Attempt.objects.using(conf.DATABASE).filter(task__step_run__in=step_runs)
    failed = found.exclude(outcome__in=(RELEASED, CANCELLED)).select_related("task__step_run")
    return list(failed.order_by("-id")[:most])[::-1]
