"""A definition as a picture in Mermaid's language, for documentation."""

from __future__ import annotations

from collections.abc import Iterable

from django_workflow.definition.elements import DEPENDENCY_OUTCOMES, MAP, Edge, StepSpec, TransitionSpec

#: Words that Mermaid does not take as a node's id.
MERMAID_WORDS = frozenset(
    {
        *("call", "class", "classdef", "click", "default", "direction", "end", "flowchart", "graph", "href"),
        *("linkstyle", "style", "subgraph"),
    }
)


def to_mermaid(steps: Iterable[StepSpec], edges: Iterable[Edge]) -> str:
    """Return the graph as Mermaid text."""
    lines = ["flowchart TD"]
    for step in steps:
        label = (step.title or step.name).replace('"', "#quot;")
        node = _mermaid_id(step.name)
        lines.append(f'    {node}[["{label} × n"]]' if step.kind == MAP else f'    {node}["{label}"]')
    for edge in edges:
        label = edge_label(edge.transition).replace('"', "#quot;")
        arrow = f'-->|"{label}"|' if label else "-->"
        lines.append(f"    {_mermaid_id(edge.source)} {arrow} {_mermaid_id(edge.to)}")
    return "\n".join(lines)


def _mermaid_id(step: str) -> str:
    # names of steps are lower-case, so the capital makes it no other step's
    return step.capitalize() if step in MERMAID_WORDS else step


def edge_label(transition: TransitionSpec) -> str:
    """Return what a picture says at a transition: its outcome where it is not the usual one, and its condition."""
    parts = []
    if transition.on not in (DEPENDENCY_OUTCOMES, ("succeeded",)):
        parts.append("always" if len(transition.on) > 2 else " or ".join(transition.on))
    if transition.when is not None:
        parts.append(str(transition.when))
    if transition.is_otherwise:
        parts.append("otherwise")
    return ": ".join(parts)
