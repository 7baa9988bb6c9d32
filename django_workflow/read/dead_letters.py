"""Dead letters: failed tasks that ended their runs, until these are retried or they are dismissed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Subquery, TextField, Value
from django.db.models.functions import Coalesce

from django_workflow import arguments, text
from django_workflow.conf import conf
from django_workflow.definition.names import is_name, is_queue_name
from django_workflow.exceptions import UnknownFlow, UnknownQueue
from django_workflow.models import Attempt, Task


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task whose failure ended its run, and which nobody has taken care of yet."""

    task_id: int
    run_id: UUID
    flow: str
    step: str
    #: Its place in a map step.
    index: int
    #: Of the last attempt, as the next two.
    error_class: str
    message: str
    #: Equal for errors that differ in numbers and quoted values only.
    fingerprint: str
    failed_at: datetime
    #: How many of its attempts count.
    attempts: int


def of_last_attempt(name: str) -> Coalesce:
    """Return the expression for a column of a task's last attempt; "" where it has none."""
    last = Attempt.objects.using(conf.DATABASE).filter(task=OuterRef("pk")).order_by("-number", "-id")
    return Coalesce(Subquery(last.values(name)[:1]), Value(""), output_field=TextField())


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
    limit, offset = arguments.whole(limit, "limit="), arguments.whole(offset, "offset=")
    return [DeadLetter(*row) for row in _rows(flow, queue)[offset : offset + limit]]


def _rows(flow: str | None, queue: str | None) -> Any:
    tasks: Any = Task.objects.using(conf.DATABASE).dead()
    if flow is not None:
        tasks = tasks.filter(step_run__run__flow__slug=flow)
    if queue is not None:
        tasks = tasks.filter(queue=queue)
    return tasks.order_by("-step_run__run__id", "id").values_list(
        "id", "step_run__run_id", "step_run__run__flow__slug", "step_run__step", "index",
        of_last_attempt("error_class"), of_last_attempt("message"), of_last_attempt("fingerprint"),
        "ended_at", "failure_count",
    )  # fmt: skip
