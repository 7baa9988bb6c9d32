"""Django's admin: everything can be looked at, nothing is written but by the verbs, and only after a confirmation."""

from django_workflow.admin.dead_letters import DeadLetterAdmin
from django_workflow.admin.definitions import FlowAdmin, FlowVersionAdmin
from django_workflow.admin.parts import AttemptAdmin, ErasureAdmin, EventAdmin, StepRunAdmin, TaskAdmin
from django_workflow.admin.runs import RunAdmin
from django_workflow.admin.workers_and_queues import QueueAdmin, WorkerAdmin

__all__ = [
    "AttemptAdmin",
    "DeadLetterAdmin",
    "ErasureAdmin",
    "EventAdmin",
    "FlowAdmin",
    "FlowVersionAdmin",
    "QueueAdmin",
    "RunAdmin",
    "StepRunAdmin",
    "TaskAdmin",
    "WorkerAdmin",
]
