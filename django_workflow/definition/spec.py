"""The compiled form of a flow: immutable data, no functions, stable as JSON.

A `FlowSpec` is what a version stores and what a run is pinned to. Handlers, conditions and retry
strategies are named here and looked up in `definition.registry`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django_workflow.definition import mermaid, serial
from django_workflow.definition.dialect import NATIVE
from django_workflow.definition.elements import Assignment, StepSpec, TransitionSpec
from django_workflow.definition.schemas import schema
from django_workflow.definition.topology import Topology

#: What a stored definition holds of its flow's own options, where they are not the defaults.
FLOW_OPTIONS: Final = ("title", "max_duration", "max_tasks", "max_iterations", "input_schema", "language")
#: What it holds in order, as a list of names and values.
ASSIGNMENTS: Final = ("vars", "output", "inputs")


@dataclass(frozen=True)
class FlowSpec(Topology):
    """A whole definition: steps in declared order, transitions, and the flow's own options.

    vars: the variables a run begins with. output: what it gives instead of the outputs of its leaves.
    language: of all its expressions. inputs: what a flow of another language takes of its input, with defaults.
    """

    slug: str
    steps: Mapping[str, StepSpec]
    transitions: tuple[TransitionSpec, ...]
    entry: tuple[str, ...]
    title: str = ""
    max_duration: float | None = None
    max_tasks: int | None = None
    max_iterations: int | None = None
    input_schema: Mapping[str, Any] | None = None
    vars: tuple[Assignment, ...] = ()
    output: tuple[Assignment, ...] = ()
    language: str = NATIVE
    inputs: tuple[Assignment, ...] = ()

    @cached_property
    def input_validator(self) -> Any:
        """What checks inputs against `input_schema`; None where the flow takes anything."""
        return None if self.input_schema is None else schema.compiled(self.input_schema)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the definition that ignores the order of keys."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-able data; `from_dict` reads it back to an equal spec."""
        return {
            "slug": self.slug,
            **serial.without_defaults(self, skip=("slug", "steps", "transitions", "entry", *ASSIGNMENTS)),
            **{name: serial.assignments(values) for name in ASSIGNMENTS if (values := getattr(self, name))},
            "entry": list(self.entry),
            "steps": [serial.step_to_dict(step) for step in self.steps.values()],
            "transitions": [serial.transition_to_dict(item) for item in self.transitions],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FlowSpec:
        """Read what `to_dict` wrote."""
        options = {key: data[key] for key in FLOW_OPTIONS if key in data}
        options |= {name: serial.read_assignments(data[name]) for name in ASSIGNMENTS if name in data}
        steps = [serial.step_from_dict(item) for item in data["steps"]]
        return cls(
            slug=data["slug"],
            steps={step.name: step for step in steps},
            transitions=tuple(serial.transition_from_dict(item) for item in data["transitions"]),
            entry=tuple(data["entry"]),
            **options,
        )

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text, for documentation."""
        return mermaid.to_mermaid(self.steps.values(), self.edges)
