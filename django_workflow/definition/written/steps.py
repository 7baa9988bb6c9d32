"""What an author writes of steps and flows: options that were left out are absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django_workflow.definition import elements
from django_workflow.definition.places import Place
from django_workflow.definition.problems import Problem


@dataclass
class StepDraft:
    """A step as its author wrote it: options that were left out are absent.

    place: where it is declared in code.
    """

    name: str
    handler: str
    kind: str = elements.SINGLE
    params: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    place: Place | None = None


@dataclass(frozen=True)
class FlowOptions:
    """What a flow's author says of the flow as a whole; see `FlowDeclaration`."""

    title: str = ""
    max_duration: timedelta | None = None
    max_tasks: int | None = None
    max_iterations: int | None = None
    entry: Iterable[str] | None = None
    vars: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    input_schema: Mapping[str, Any] | None = None
