"""Reading what a run has come to: output, errors and counts, assembled from its rows."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Q, QuerySet, Sum

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
