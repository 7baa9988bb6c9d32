"""Versions of flows that a later release of this package wrote in other words: pages about their runs go on."""

from __future__ import annotations

from typing import Final

from django_workflow.definition.spec import FlowSpec
from django_workflow.exceptions import NotSupported
from django_workflow.models import FlowVersion, Run

UNREADABLE: Final = "This release cannot read the version of the flow that the run has."


def readable_spec(version: FlowVersion) -> FlowSpec:
    """Return a version's definition; an empty one where this release cannot read it."""
    return _read(version) or FlowSpec(version.flow.slug, {}, (), ())


def is_readable(version: FlowVersion) -> bool:
    """Say whether this release can read a version."""
    return _read(version) is not None


def check_readable(run: Run) -> None:
    """Refuse what needs the definition of a run where this release cannot read it; raises `NotSupported`."""
    if not is_readable(run.version):
        raise NotSupported(UNREADABLE, run_id=run.pk)


def _read(version: FlowVersion) -> FlowSpec | None:
    try:
        return version.compiled
    except (KeyError, TypeError, ValueError):
        return None
