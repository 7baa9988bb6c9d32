"""The tasks that an operation touches, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Count
from django.utils.translation import ngettext as _n

from django_workflow.conf import conf
from django_workflow.models import Task
from django_workflow.operations.operation import Line, lines
from django_workflow.statuses import HELD, QUEUED, RUNNING, SUSPENDED


def count(run_ids: Sequence[UUID], step_run_id: int | None = None) -> Counter[str]:
    """Count the tasks of runs, or of one step run, that are not over, by status."""
    tasks = Task.objects.using(conf.DATABASE).filter(step_run__run__in=run_ids, step_run__status=RUNNING)
    if step_run_id is not None:
        tasks = tasks.filter(step_run=step_run_id)
    found = tasks.unsettled().order_by().values_list("status").annotate(count=Count("id"))
    return Counter(dict(found))


def ended(counts: Counter[str]) -> list[Line]:
    """Return what becomes of tasks whose step or run is ended."""
    waiting, running = counts[QUEUED] + counts[HELD] + counts[SUSPENDED], counts[RUNNING]
    return lines(
        (waiting, _n("waiting task will be cancelled", "waiting tasks will be cancelled", waiting)),
        (running, _n("running handler will be told to stop", "running handlers will be told to stop", running)),
    )
