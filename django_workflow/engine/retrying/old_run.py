"""The run that a retry follows, and the version that the new run has."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.retrying.request import LATEST
from django_workflow.engine.stored import overrides, versions
from django_workflow.exceptions import NotSupported, RunNotFound, UnknownFlow
from django_workflow.models import FlowVersion


@dataclass(frozen=True, slots=True)
class RunToRetry:
    """What never changes of a run: its flow and version; and of which kind it is."""

    id: UUID
    flow: str
    version_id: int
    version: int
    is_local: bool


@dataclass(frozen=True, slots=True)
class RetryVersion:
    """The version that a retry has."""

    id: int
    number: int
    spec: FlowSpec


IS_ERASED = "SELECT 1 FROM django_workflow_run WHERE id = %s AND erased_at IS NOT NULL"
READ_OLD = """
    SELECT r.id, f.slug, r.version_id, v.number, r.is_local
    FROM django_workflow_run r
    JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
    JOIN django_workflow_flowversion v ON v.id = r.version_id
    WHERE r.id = %s
"""


def read_run(run_id: UUID) -> RunToRetry:
    """Return what a retry follows; raises `RunNotFound`."""
    for row in db.rows(READ_OLD, [run_id]):
        return RunToRetry(*row)
    raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)


def version_for(old: RunToRetry, wanted: int | str | None) -> RetryVersion:
    """Return the version that a retry has: the run's own, one by number, or the latest."""
    if wanted is None or wanted == old.version:
        return RetryVersion(old.version_id, old.version, versions.spec_of(old.version_id))
    published = FlowVersion.objects.using(conf.DATABASE).filter(flow__slug=old.flow).order_by("-number")
    if wanted == LATEST:
        version_id = _latest(old.flow)
        number = published.values_list("number", flat=True).get(pk=version_id)
        return RetryVersion(version_id, number, versions.spec_of(version_id))
    found = published.filter(number=wanted).values_list("pk", flat=True).first()
    if found is None:
        newest = published.values_list("number", flat=True)[0]
        raise NotSupported(f"Flow {old.flow!r} has no version {wanted}; its newest is {newest}.")
    return RetryVersion(found, int(wanted), versions.spec_of(found))


def _latest(slug: str) -> int:
    """Return the version that a start would use now."""
    try:
        declared = registry.flow(slug)
    except UnknownFlow:
        return versions.latest_version(slug).pk
    return versions.version_of(overrides.apply(declared))[1]


READ_PAST = """
    SELECT DISTINCT ON (s.step) s.step, s.id, s.status, s.reason, s.error IS NOT NULL, s.task_count, s.failed_count,
           EXISTS (SELECT 1 FROM django_workflow_task t
                   WHERE t.step_run_id = s.id AND t.index >= 0 AND t.status IN ('succeeded', 'skipped')),
           EXISTS (SELECT 1 FROM django_workflow_task t WHERE t.step_run_id = s.id AND t.index = -1)
    FROM django_workflow_steprun s WHERE s.run_id = %s ORDER BY s.step, s.iteration DESC
"""
