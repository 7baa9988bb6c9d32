"""The tables: what is defined, what runs, who coordinates, what happened. Models carry no verbs."""

from django_workflow.models.coordination import Queue, Worker
from django_workflow.models.definition import FlowDefinition, FlowVersion
from django_workflow.models.event import Event
from django_workflow.models.runtime import Arrival, Attempt, Run, StepRun, Task

__all__ = [
    "Arrival",
    "Attempt",
    "Event",
    "FlowDefinition",
    "FlowVersion",
    "Queue",
    "Run",
    "StepRun",
    "Task",
    "Worker",
]
