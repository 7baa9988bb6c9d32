"""Reading what a run has come to: output, errors and counts, assembled from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import outputs, versions
from django_workflow.models import Run, StepRun
from django_workflow.statuses import FAILED, SKIPPED, SUCCEEDED


def of(run: Run) -> dict[str, Any]:
    """Return status, output, errors, error and counts of a run."""
    spec = versions.spec_of(run.version_id)
    steps = StepRun.objects.using(conf.DATABASE).filter(run_id=run.pk)
    errors = list(
        steps.filter(status__in=(FAILED, SKIPPED), error__isnull=False).order_by("id").values_list("error", flat=True)
    )
    if run.error and run.error not in errors:
        errors.append(run.error)
    return {
        "status": run.status,
        "output": outputs.run_output(run.pk, spec, run.output),
        "errors": errors,
        "error": run.error,
        "counts": _counts(spec, steps),
    }


def _counts(spec: FlowSpec, steps: QuerySet[StepRun]) -> dict[str, int]:
    """Return how often each step was executed: one for each pass, one per item of a map.

    In documents of another language a task with items is one execution, as their readers expect.
    """
    if spec.dialect.counts_items:
        executed = steps.filter(task_count__gt=0).values_list("step").annotate(times=Sum("task_count"))
    else:
        reached = steps.filter(Q(started_at__isnull=False) | Q(status=SUCCEEDED))
        executed = reached.values_list("step").annotate(times=Count("id"))
    return dict(executed.order_by("step"))


# of many long items only as much is sent as will be shown: together they may be larger than a process
READ_OUTPUTS = """
    SELECT s.step, t.index, left(t.output::text, (%s::bigint - t.before)::int), t.size
    FROM unnest(%s::bigint[]) AS w(id)
    JOIN django_workflow_steprun s ON s.id = w.id
    CROSS JOIN LATERAL (
        SELECT *, sum(size) OVER (ORDER BY index) - size AS before FROM (
            SELECT index, output, length(output::text) AS size FROM django_workflow_task
            WHERE step_run_id = s.id AND status = 'succeeded' ORDER BY index LIMIT %s::int
        ) o
    ) t
    WHERE t.before < %s::bigint
    ORDER BY s.id, t.index
"""


def read_parts(step_runs: Sequence[int], items: int, most: int) -> dict[str, list[tuple[int, str, int]]]:
    """Read what step runs gave, by step: of each item its index, its JSON text and how long that really is.

    items: of each step run at most so many. most: characters of each step run.
    """
    found: dict[str, list[tuple[int, str, int]]] = {}
    for name, index, text, size in db.rows(READ_OUTPUTS, [most, list(step_runs), items, most]):
        found.setdefault(name, []).append((index, text, size))
    return found
