"""Reading what a run has come to: output, errors and counts, assembled from its rows."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum

from django_workflow.conf import conf
from django_workflow.engine import outputs, publish
from django_workflow.models import Run, StepRun
from django_workflow.statuses import FAILED, SKIPPED


def of(run: Run) -> dict[str, Any]:
    """Return status, output, errors, error and counts of a run."""
    spec = publish.spec_of(run.version_id)
    steps = StepRun.objects.using(conf.DATABASE).filter(run_id=run.pk)
    errors = list(
        steps.filter(status__in=(FAILED, SKIPPED), error__isnull=False).order_by("id").values_list("error", flat=True)
    )
    executed = steps.filter(task_count__gt=0).values_list("step").annotate(times=Sum("task_count"))
    if run.error and not errors:
        errors = [run.error]
    return {
        "status": run.status,
        "output": outputs.run_output(run.pk, spec),
        "errors": errors,
        "error": run.error,
        "counts": dict(executed.order_by("step")),
    }
