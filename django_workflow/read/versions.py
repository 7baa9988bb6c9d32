"""Versions of flows, and those that a later release of this package wrote in other words: reads of their runs go on."""

from __future__ import annotations

from typing import Any, Final

from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import versions
from django_workflow.exceptions import NotSupported
from django_workflow.models import FlowVersion, Run

UNREADABLE: Final = "This release cannot read the version of the flow that the run has."


def readable_spec(version: FlowVersion) -> FlowSpec:
    """Return a version's definition; an empty one where this release cannot read it."""
    return versions.readable_spec(version.pk) or FlowSpec(version.flow.slug, {}, (), ())


def is_readable(version: FlowVersion) -> bool:
    """Say whether this release can read a version."""
    return versions.readable_spec(version.pk) is not None


def check_readable(run: Run) -> None:
    """Refuse what needs the definition of a run where this release cannot read it; raises `NotSupported`."""
    if not is_readable(run.version):
        raise NotSupported(UNREADABLE, run_id=run.pk)


def newest(flow_id: int) -> FlowVersion | None:
    """Return a flow's newest version, with its flow."""
    found: FlowVersion | None = _of(flow_id).select_related("flow").order_by("-number").first()
    return found


def numbered(flow_id: int, number: int) -> FlowVersion | None:
    """Return a flow's version by its number."""
    found: FlowVersion | None = _of(flow_id).filter(number=number).first()
    return found


def numbers(flow_id: int, most: int) -> list[int]:
    """Return the numbers of a flow's newest versions, the newest first."""
    return list(_of(flow_id).order_by("-number").values_list("number", flat=True)[:most])


def _of(flow_id: int) -> Any:
    return FlowVersion.objects.using(conf.DATABASE).filter(flow_id=flow_id)
