"""What people may do with runs, steps, flows, queues and dead letters, once for every interface.

An operation is a class: its words, its permission, where it makes sense, what it will touch, and the doing. Pages give
it a form, the admin an action, the shell arguments. A new one is a class here, in the table of what it is done to.
"""

from __future__ import annotations

from django_workflow.operations.dead_letters import DEAD_LETTERS
from django_workflow.operations.holding import FLOWS, QUEUES
from django_workflow.operations.runs import RUNS
from django_workflow.operations.start import START
from django_workflow.operations.steps import STEPS

__all__ = ["DEAD_LETTERS", "FLOWS", "QUEUES", "RUNS", "START", "STEPS"]
