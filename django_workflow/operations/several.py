"""What people do to several rows at once, after those that it cannot be done to are told apart."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import DatabaseError

from django_workflow import permissions
from django_workflow.conf import conf
from django_workflow.exceptions import NotSupported, WorkflowError
from django_workflow.models import FlowDefinition, Run
from django_workflow.operations.operation import Done, Operation, Preview, Unfit, Words, passes
from django_workflow.operations.runs import RunOperation

Row = TypeVar("Row")


@dataclass(slots=True)
class Selection(Generic[Row]):
    """Rows that somebody chose, told apart by what an operation can do with them."""

    #: It can be done.
    fit: list[Row] = field(default_factory=list)
    #: It cannot, by why.
    unfit: Counter[str] = field(default_factory=Counter)
    #: Of flows on which they may not do it.
    forbidden: int = 0
    #: Ids of nothing that they see.
    missing: int = 0

    @property
    def count(self) -> int:
        """How many were chosen."""
        return len(self.fit) + self.unfit.total() + self.forbidden + self.missing

    @property
    def is_forbidden(self) -> bool:
        """Whether they may do it to none of them."""
        return 0 < self.forbidden == self.count


class Several(Operation[Selection[Row], Words]):
    """What is done to several rows at once."""

    @abstractmethod
    def select(self, user: Any, ids: Sequence[Any]) -> Selection[Row]:
        """Tell chosen rows apart by what a user may do with them, and by how they stand."""

    @abstractmethod
    def missing(self, count: int) -> str:
        """Say that ids are of nothing that somebody sees."""

    def sentence(self, target: Selection[Row]) -> str:
        parts = [f"{len(target.fit)} of {target.count} will be {self.past}"]
        parts += [f"{count} {why}" for why, count in sorted(target.unfit.items())]
        if target.forbidden:
            parts.append(f"{target.forbidden} of flows on which you may not do this")
        if target.missing:
            parts.append(self.missing(target.missing))
        return "; ".join(parts) + "."

    def unfit(self, target: Selection[Row]) -> Unfit | None:
        return None if target.fit else Unfit(self.sentence(target))

    @property
    def menu(self) -> str:
        """How a list of rows calls it."""
        return f"{self.label} selected {self.noun}s"

    def counted(self, count: int) -> str:
        """Return a number of rows in words."""
        return f"1 {self.noun}" if count == 1 else f"{count:,} {self.noun}s"

    def subject(self, target: Selection[Row]) -> str:
        return self.counted(target.count)

    def done_to(self, target: Selection[Row]) -> str:
        return self.counted(len(target.fit))

    def perform(self, target: Selection[Row], words: Words, by: str) -> Done:
        if not target.fit:
            raise NotSupported(self.sentence(target))
        return self.perform_on(target, words, by)

    @abstractmethod
    def perform_on(self, selection: Selection[Row], words: Words, by: str) -> Done:
        """Do it to those that it fits."""


class SeveralRuns(Several[Run]):
    """An operation on a run, done to several."""

    noun = "run"

    def __init__(self, operation: RunOperation[Any]) -> None:
        self.operation = operation
        self.name, self.label, self.permission = operation.name, operation.label, operation.permission
        self.past, self.meaning = operation.past, operation.meaning
        self.is_dangerous, self.needs_reason = operation.is_dangerous, operation.needs_reason

    def missing(self, count: int) -> str:
        return f"{count} do not exist" if count > 1 else "1 does not exist"

    def select(self, user: Any, ids: Sequence[UUID]) -> Selection[Run]:
        runs = Run.objects.using(conf.DATABASE).select_related("flow").defer("input", "output", "error", "flow__draft")
        found = {run.pk: run for run in runs.filter(pk__in=ids)}

        @cache
        def may(flow: FlowDefinition, permission: str) -> bool:
            return permissions.may(user, permission, flow)

        selection = Selection[Run]()
        for run_id in dict.fromkeys(ids):
            run = found.get(run_id)
            if run is None or not may(run.flow, permissions.VIEW):
                selection.missing += 1
            elif not may(run.flow, self.permission):
                selection.forbidden += 1
            elif unfit := self.operation.unfit_in_selection(run):
                selection.unfit[unfit.short] += 1
            else:
                selection.fit.append(run)
        return selection

    def touched(self, target: Selection[Run], words: Words) -> Preview:
        return Preview(self.operation.lines([run.pk for run in target.fit]))

    def perform_on(self, selection: Selection[Run], words: Words, by: str) -> Done:
        """Do it to each by itself: one that cannot be changed stops no other."""
        said = self.operation.words(words.reason, words.sees_payload, words.asked_at)
        changed: list[Run] = []
        refusals: list[WorkflowError | DatabaseError] = []
        for run in selection.fit:
            try:
                done = self.operation.perform(run, said, by)
            except WorkflowError as error:
                refusals.append(error)
            except DatabaseError as error:
                if not passes(error):
                    raise
                refusals.append(error)
            else:
                if done.changed:
                    changed.append(run)
                else:
                    refusals.append(NotSupported(done.text))
        text = f"{len(changed)} of {selection.count} were {self.past}."
        if others := selection.count - len(selection.fit):
            text += f" {others} could not be, as they stood."
        is_partial = len(changed) < selection.count
        return Done(text, changed, self.past.capitalize(), is_partial=is_partial, refusals=refusals)
