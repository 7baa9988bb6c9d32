"""What an operation is: its words, who may do it, where it makes sense, what it will touch, and what came of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import DatabaseError, models

from django_workflow import db, permissions
from django_workflow.engine.retrying.rehearsal import Rehearsal
from django_workflow.exceptions import NotSupported, WorkflowError
from django_workflow.models import FlowDefinition

#: Counts that would take long stop here.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody says with an operation."""

    #: Why; it is stored with what is done.
    reason: str = ""
    #: Whether they may see payloads. Those who may not learn nothing of one, nor by trying which value is refused.
    sees_payload: bool = True
    #: When they were shown what it will touch. What is confirmed twice is done once.
    asked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why an operation makes no sense for something as it stands."""

    sentence: str
    #: The same in a list of several.
    short: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A number and what it is the number of."""

    count: int
    text: str

    @property
    def is_at_least(self) -> bool:
        """Whether counting stopped before the end."""
        return self.count >= MOST


def lines(*counted: tuple[int, str]) -> list[Line]:
    """Return lines without those about nothing."""
    return [Line(count, text) for count, text in counted if count]


@dataclass(slots=True)
class Preview:
    """What an operation will touch."""

    lines: list[Line] = field(default_factory=list)
    #: Further sentences.
    notes: Sequence[str] = ()
    #: Of a retry, what becomes of each step.
    rehearsal: Rehearsal | None = None
    #: Of a retry, the steps of which a task for each item is executed.
    maps: Sequence[str] = ()
    #: Why it cannot be done. There is nothing to confirm then.
    refusal: WorkflowError | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an operation."""

    text: str
    #: What was changed; nothing where it had been done before.
    changed: Sequence[models.Model] = ()
    #: What stands in the history of what was changed.
    record: str = ""
    #: The run that came of it.
    run_id: UUID | None = None
    #: The text in three parts, of which the middle one leads to that run.
    linked: tuple[str, str, str] | None = None
    #: Of several, whether some were left out; and why those were that had been expected to be done.
    is_partial: bool = False
    refusals: Sequence[WorkflowError | DatabaseError] = ()


Target = TypeVar("Target")
Said = TypeVar("Said", bound=Words)


class Operation(ABC, Generic[Target, Said]):
    """Something that people do to a target."""

    name: str
    #: On the button.
    label: str
    #: Who may do it: a codename.
    permission: str
    #: For messages and records: "cancelled".
    past: str
    #: One sentence for those who are about to do it.
    meaning: str
    #: One sentence for those who read what they may do; its meaning, where it is empty.
    summary: str = ""
    #: Its word at the shell; its name, where it is empty.
    command: str = ""
    #: What it is done to, in the words of its button.
    noun: str
    is_dangerous: bool = False
    needs_reason: bool = False
    #: What is said with it: an interface asks for its fields.
    words: type[Words] = Words

    def flow_of(self, target: Target) -> FlowDefinition | None:
        """Return the flow whose permissions count; None where the target belongs to none."""
        return None

    def is_allowed(self, user: Any, target: Target | None = None) -> bool:
        """Say whether a user may do it, to this target or at all."""
        return permissions.may(user, self.permission, None if target is None else self.flow_of(target))

    @abstractmethod
    def unfit(self, target: Target) -> Unfit | None:
        """Return why it makes no sense for a target as it stands; None where it does."""

    def fits(self, target: Target) -> bool:
        """Say whether it makes sense for a target as it stands."""
        return self.unfit(target) is None

    def subject(self, target: Target) -> str:
        """Return what a target is called."""
        return str(target)

    def sentence(self, target: Target) -> str:
        """Return which part of a target it will be done to, in one sentence; nothing where that is all of it."""
        return ""

    def done_to(self, target: Target) -> str:
        """Return what it will be done to, in the words of its button."""
        return f"the {self.noun}"

    def called(self, words: Said) -> str:
        """Return what it is called as it is asked for."""
        return self.label

    def confirmation(self, target: Target, words: Said) -> str:
        """Return what its button says: a "Cancel" alone might mean to leave the page."""
        return f"{self.label} {self.done_to(target)}"

    def preview(self, target: Target, words: Said) -> Preview:
        """Return what it will touch, in numbers; changes nothing."""
        unfit = self.unfit(target)
        return self.touched(target, words) if unfit is None else Preview(refusal=NotSupported(unfit.sentence))

    def touched(self, target: Target, words: Said) -> Preview:
        """Return what it will touch of a target that it fits."""
        return Preview()

    @abstractmethod
    def perform(self, target: Target, words: Said, by: str) -> Done:
        """Do it; raises `WorkflowError` where it is refused."""


def passes(error: DatabaseError) -> bool:
    """Say whether what the database could not finish just now can be done when it is tried again."""
    return db.is_retryable(error) and not db.is_of_connection(error)
