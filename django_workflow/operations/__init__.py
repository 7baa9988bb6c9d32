"""What people may do with runs, steps, flows, queues and dead letters, once for every interface.

An operation is a class: its words, its permission, where it makes sense, what it will touch, and the doing. Pages give
it a form, the admin an action, the shell arguments. A new one is a class here, in the table of what it is done to.
"""

from __future__ import annotations

from typing import Any, Final

from django_workflow.operations.dead_letters import DeadLetterOperation, Dismiss, RetryDeadLetters
from django_workflow.operations.holding import Holding, PauseFlow, PauseQueue, ResumeFlow, ResumeQueue
from django_workflow.operations.retry import Retry
from django_workflow.operations.runs import Cancel, Pause, Resume, RunOperation
from django_workflow.operations.start import Start
from django_workflow.operations.steps import CompleteStep, SkipStep, StepOperation

START: Final = Start()
RETRY: Final = Retry()

# by name, in the order in which people read of them
RUNS: Final[dict[str, RunOperation[Any]]] = {item.name: item for item in (Pause(), Resume(), Cancel(), RETRY)}
STEPS: Final[dict[str, StepOperation[Any]]] = {item.name: item for item in (SkipStep(), CompleteStep())}
FLOWS: Final[dict[str, Holding[Any]]] = {item.name: item for item in (PauseFlow(), ResumeFlow())}
QUEUES: Final[dict[str, Holding[Any]]] = {item.name: item for item in (PauseQueue(), ResumeQueue())}
DEAD_LETTERS: Final[dict[str, DeadLetterOperation]] = {item.name: item for item in (RetryDeadLetters(), Dismiss())}
