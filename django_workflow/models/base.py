"""What all models have in common: where their rows are read."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models

from django_workflow.conf import conf

M = TypeVar("M", bound=models.Model)


class RowManager(models.Manager[M]):
    """A manager that reads what belongs to a row in the database of that row.

    A site's router may send reads to a replica, which lags behind: a row that was just written is not there, or is
    there as it was. `refresh_from_db()`, `step_run.run` and `run.events` of a row that the package has read or written
    never ask the router. What a site reads by itself (`Run.objects.filter(…)`) does, and what belongs to it follows it.
    """

    def get_queryset(self) -> models.QuerySet[M]:
        """Return the rows, in the database of the row they belong to where there is one."""
        manager: Any = self
        queryset = super().get_queryset()
        row = getattr(manager, "instance", None) or manager._hints.get("instance")  # noqa: SLF001  as routers see it
        if manager._db is None and isinstance(row, WorkflowModel):  # noqa: SLF001  what `using` sets
            return queryset.using(row._state.db or conf.DATABASE)  # noqa: SLF001  documented by Django
        return queryset


class WorkflowModel(models.Model):
    """A model of this package."""

    objects = RowManager()

    class Meta:
        abstract = True
        # also for what Django reads by itself: refresh_from_db() and foreign keys
        base_manager_name = "objects"
