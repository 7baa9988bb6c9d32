"""The tables: what is defined, what runs, who coordinates, what happened. Models carry no verbs."""

# first: without pgtrigger Django refuses the models below with an error that names neither cause nor place
import django_workflow.models.needs_pgtrigger  # noqa: F401  says what is missing; isort: skip
from django_workflow.models.definition import FlowDefinition, FlowVersion
from django_workflow.models.event import Event, Message, Renumbering
from django_workflow.models.runtime import (
    Arrival,
    Attempt,
    DeadLetter,
    Dismissal,
    Erasure,
    Run,
    StepRun,
    Task,
    TaskLog,
    Variables,
)
from django_workflow.models.workers_and_queues import Leader, Queue, Worker

__all__ = [
    "Arrival",
    "Attempt",
    "DeadLetter",
    "Dismissal",
    "Erasure",
    "Event",
    "FlowDefinition",
    "FlowVersion",
    "Leader",
    "Message",
    "Queue",
    "Renumbering",
    "Run",
    "StepRun",
    "Task",
    "TaskLog",
    "Variables",
    "Worker",
]
