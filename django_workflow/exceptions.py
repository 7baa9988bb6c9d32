"""Every error this package raises on purpose, one tree under `WorkflowError`.

An error carries fields rather than prose; its docstring is the default message.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

#: What a retry that is refused can ask for instead: all steps; a step to repeat from, or all steps; an earlier step to
#: repeat from, or all steps.
Remedy = Literal["all", "from_step", "earlier_step"]
#: The words for each to those who write Python.
REMEDIES: Mapping[Remedy, str] = {
    "all": "Repeat everything with mode='all'.",
    "from_step": "Say from_step= to repeat a part of it, or mode='all'.",
    "earlier_step": "Begin before these steps with from_step=, or repeat everything with mode='all'.",
}
#: Characters of a flow's name that an error shows: what cannot name one may be of any length.
LONGEST_NAME = 128


class WorkflowError(Exception):
    """A workflow operation was refused."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        super().__init__(self.message)

    def worded(self, remedies: Mapping[Remedy, str]) -> str:
        """Return the message with what can be done instead in words of the caller's, by remedy."""
        return self.message


class DefinitionError(WorkflowError):
    """The flow definition has problems."""

    def __init__(self, problems: Sequence[str], *, flow: str | None = None) -> None:
        self.problems = list(problems)
        self.flow = flow
        head = f"Flow {str(flow)[:LONGEST_NAME]!r} has" if flow else "The definition has"
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"{head} {count}:{lines}")


class InvalidArgument(WorkflowError, ValueError, TypeError):
    """An argument cannot be used."""


class PayloadError(WorkflowError):
    """A value cannot be stored: it is not JSON, it is too large, or it does not fit the flow's schema."""

    def __init__(
        self, message: str | None = None, *, path: str = "", size: int | None = None, violations: Sequence[Any] = ()
    ) -> None:
        super().__init__(message)
        self.path = path
        self.size = size
        #: How an input does not fit: each with `path` and `message`.
        self.violations = violations


class TypeViolation(WorkflowError):
    """A map step received something that is not a list."""


class ExpressionError(WorkflowError):
    """An expression could not be evaluated."""

    def __init__(self, message: str | None = None, *, expression: str = "") -> None:
        super().__init__(message)
        self.expression = expression
        #: No transition handles it, for it is no failure of what the step does.
        self.ends_run = False


class UnknownFlow(WorkflowError):
    """No flow of that name is known here."""


class UnknownQueue(WorkflowError):
    """There is no queue of that name."""


class UnregisteredHandler(WorkflowError):
    """A step names a handler that is not registered in this process."""


class RunNotFound(WorkflowError):
    """There is no such run."""

    def __init__(self, message: str | None = None, *, run_id: UUID | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


class AlreadySettled(WorkflowError):
    """The run has already settled; a finished run is never changed."""

    def __init__(
        self, message: str | None = None, *, run_id: UUID | None = None, status: str = "", step: str = ""
    ) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.status = status
        #: The step that has ended, where the run has not.
        self.step = step


class RunBusy(WorkflowError):
    """Another transaction holds the run, the flow or the queue; nothing was changed, or the message says what was."""


class RunFailed(WorkflowError):
    """The run did not succeed."""

    def __init__(self, message: str | None = None, *, result: Any = None) -> None:
        self.result = result
        super().__init__(message)


class WaitTimeout(WorkflowError):
    """The run did not settle in time; the message says whether it goes on, is paused, or was not begun."""

    def __init__(self, message: str | None = None, *, run_id: UUID | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


class NotSupported(WorkflowError):
    """This operation is not possible here."""

    def __init__(
        self,
        message: str | None = None,
        *,
        remedy: Remedy | None = None,
        run_id: UUID | None = None,
        status: str = "",
        task_ids: Sequence[int] = (),
        problems: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        #: What can be asked for instead, None where nothing can.
        self.remedy = remedy
        self.run_id = run_id
        self.status = status
        self.task_ids = task_ids
        self.problems = problems
        #: The message without the remedy.
        self.refusal = self.message
        self.message = self.worded(REMEDIES)
        self.args = (self.message,)

    def worded(self, remedies: Mapping[Remedy, str]) -> str:
        """Return the refusal, and after it the words for its remedy."""
        if self.remedy is None:
            return self.refusal
        separator = "\n" if "\n" in self.refusal else " "
        return f"{self.refusal}{separator}{remedies[self.remedy]}"
