"""What all operations on a run as a whole have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_workflow.models import FlowDefinition, Run
from django_workflow.operations.operation import Done, Line, Operation, Preview, Said, Unfit
from django_workflow.statuses import CANCELLED, FAILED, RUN_TERMINAL, SUCCEEDED, TIMED_OUT, in_words

#: How the end of a run is told to those who want to change it.
ENDED: Mapping[str, Any] = {
    SUCCEEDED: gettext_lazy("This run has already succeeded."),
    FAILED: gettext_lazy("This run has already failed."),
    CANCELLED: gettext_lazy("This run has already been cancelled."),
    TIMED_OUT: gettext_lazy("This run has already timed out."),
}


def unfit_status(run: Run) -> Unfit:
    """Return why a run with this status is not the one for an operation."""
    status = in_words(run.status)
    if run.status in RUN_TERMINAL:
        return Unfit(f"{ENDED[run.status]} {_('Ended runs cannot be changed.')}", "ended")
    return Unfit(_("This run is %(status)s. Wait until it has ended.") % {"status": status}, status)


@dataclass(frozen=True, slots=True)
class Offer:
    """A button of an operation: one may be offered in several ways."""

    name: str
    label: str
    #: What its form begins with.
    options: Mapping[str, str] = field(default_factory=dict)


class RunOperation(Operation[Run, Said]):
    """Something that people do to a run."""

    noun = "run"
    #: Of runs to which it can be done.
    statuses: frozenset[str]
    #: In which it has been done already.
    done: frozenset[str] = frozenset()

    def flow_of(self, target: Run) -> FlowDefinition:
        """Return the run's flow."""
        return target.flow

    def unfit(self, target: Run) -> Unfit | None:
        """Return why the run's status is not the one for it."""
        if target.status in self.statuses:
            return None
        if target.status in self.done:
            status = in_words(target.status)
            return Unfit(_("This run is already %(status)s.") % {"status": status}, f"already {status}")
        return unfit_status(target)

    def unfit_in_selection(self, target: Run) -> Unfit | None:
        """Return why a run among several is left out."""
        return self.unfit(target)

    def offers(self, run: Run) -> list[Offer]:
        """Return its buttons for a run that it fits."""
        return [Offer(self.name, self.label)]

    @abstractmethod
    def lines(self, run_ids: Sequence[UUID]) -> list[Line]:
        """Return what becomes of the tasks of runs."""

    def notes(self, run: Run) -> Sequence[str]:
        """Return what else there is to say of one run."""
        return ()

    def touched(self, target: Run, words: Said) -> Preview:
        """Return what becomes of the run's tasks."""
        return Preview(self.lines([target.pk]), self.notes(target))

    @abstractmethod
    def act(self, run: Run, words: Said, by: str) -> None:
        """Do it to one run."""

    def perform(self, target: Run, words: Said, by: str) -> Done:
        """Do it, unless it has been done already."""
        if target.status in self.done:
            return Done(f"Run {target} is already {in_words(target.status)}.")
        self.act(target, words, by)
        return Done(f"Run {target} was {self.past}.", [target], self.past.capitalize())
