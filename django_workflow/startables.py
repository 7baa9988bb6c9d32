"""What can be started by its name: flows that are declared in code, and stored ones."""

from __future__ import annotations

from django_workflow.builder import FlowBuilder
from django_workflow.definition.registry import registry
from django_workflow.exceptions import UnknownFlow
from django_workflow.startable import Startable


def find(slug: str) -> Startable:
    """Return what starts by a name: the flow declared in code, else the stored one; raises `UnknownFlow`."""
    try:
        declared: Startable = registry.flow(slug)
    except UnknownFlow:
        return FlowBuilder.get_flow(slug)
    return declared


def slugs() -> list[str]:
    """Return the names of all that can be started."""
    return [*(flow.slug for flow in registry.flows()), *(flow.slug for flow in FlowBuilder.list_flows())]
