"""Every error this package raises on purpose, one tree under `WorkflowError`.

An error carries fields rather than prose; its docstring is the default message.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

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

    def __init__(self, message: str | None = None, **fields: Any) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        for name, value in fields.items():
            setattr(self, name, value)
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

    path: str = ""
    size: int | None = None
    #: How an input does not fit: each with `path` and `message`.
    violations: Sequence[Any] = ()


class TypeViolation(WorkflowError):
    """A map step received something that is not a list."""


class ExpressionError(WorkflowError):
    """An expression could not be evaluated.

    ends_run: no transition handles it, for it is no failure of what the step does.
    """

    expression: str = ""
    ends_run: bool = False


class UnknownFlow(WorkflowError):
    """No flow of that name is known here."""


class UnknownQueue(WorkflowError):
    """There is no queue of that name."""


class UnregisteredHandler(WorkflowError):
    """A step names a handler that is not registered in this process."""


class RunNotFound(WorkflowError):
    """There is no such run."""


class AlreadySettled(WorkflowError):
    """The run has already settled; a finished run is never changed."""


class RunBusy(WorkflowError):
    """Another transaction holds the run, the flow or the queue; nothing was changed, or the message says what was."""


class RunFailed(WorkflowError):
    """The run did not succeed."""

    def __init__(self, message: str | None = None, *, result: Any = None) -> None:
        self.result = result
        super().__init__(message)


class WaitTimeout(WorkflowError):
    """The run did not settle in time; the message says whether it goes on, is paused, or was not begun."""


class NotSupported(WorkflowError):
    """This operation is not possible here."""

    #: What can be asked for instead, None where nothing can.
    remedy: Remedy | None = None

    def __init__(self, message: str | None = None, *, remedy: Remedy | None = None, **fields: Any) -> None:
        super().__init__(message, remedy=remedy, **fields)
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
