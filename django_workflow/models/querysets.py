"""Querysets that speak English."""

from __future__ import annotations

from typing import Any

from django.db import models

from django_workflow import statuses


class RunQuerySet(models.QuerySet[Any]):
    """Runs by where they stand."""

    def settled(self) -> RunQuerySet:
        """Runs that ended, however."""
        return self.filter(status__in=statuses.RUN_TERMINAL)

    def unsettled(self) -> RunQuerySet:
        """Runs that are scheduled, running or paused."""
        return self.exclude(status__in=statuses.RUN_TERMINAL)

    def of_flow(self, slug: str) -> RunQuerySet:
        """Runs of one flow."""
        return self.filter(flow__slug=slug)


class StepRunQuerySet(models.QuerySet[Any]):
    """Step runs by where they stand."""

    def unsettled(self) -> StepRunQuerySet:
        """Step runs that wait or run."""
        return self.exclude(status__in=statuses.STEP_TERMINAL)


class TaskQuerySet(models.QuerySet[Any]):
    """Tasks by where they stand."""

    def unsettled(self) -> TaskQuerySet:
        """Tasks that are queued, held, running or suspended."""
        return self.exclude(status__in=statuses.TASK_TERMINAL)

    def fatal(self) -> TaskQuerySet:
        """Tasks whose failure ended their run, until they are dismissed.

        A failure that was tolerated, or for which its step was skipped, ended no run: its step has not failed.
        """
        failed = self.filter(status=statuses.FAILED, step_run__status=statuses.FAILED)
        return failed.filter(step_run__run__status=statuses.FAILED, dismissal__isnull=True)

    def dead(self) -> TaskQuerySet:
        """Dead letters: fatal tasks until their run is retried."""
        return self.fatal().filter(step_run__run__retries__isnull=True)

    def of_run(self, run_id: Any) -> TaskQuerySet:
        """Tasks of one run, in the order they were made."""
        return self.filter(run_id=run_id).order_by("id")
