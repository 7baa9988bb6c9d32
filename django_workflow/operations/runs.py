"""What people do with a run as a whole: pause, resume and cancel it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.utils.translation import ngettext as _n

from django_workflow import permissions
from django_workflow.conf import conf
from django_workflow.models import FlowDefinition, Run, StepRun, Task
from django_workflow.operations.operation import Done, Line, Operation, Preview, Said, Unfit, Words, lines
from django_workflow.read.versions import readable_spec
from django_workflow.runs import RunHandle
from django_workflow.statuses import (
    CANCELLED,
    FAILED,
    HELD,
    PAUSED,
    QUEUED,
    RUN_TERMINAL,
    RUN_UNSETTLED,
    RUNNING,
    SCHEDULED,
    SUCCEEDED,
    SUSPENDED,
    TIMED_OUT,
    WAITING,
    in_words,
)

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


def open_tasks(run_ids: Sequence[UUID], step_run_id: int | None = None) -> Counter[str]:
    """Count the tasks of runs, or of one step run, that are not over, by status."""
    tasks = Task.objects.using(conf.DATABASE).filter(step_run__run__in=run_ids, step_run__status=RUNNING)
    if step_run_id is not None:
        tasks = tasks.filter(step_run=step_run_id)
    found = tasks.unsettled().order_by().values_list("status").annotate(count=Count("id"))
    return Counter(dict(found))


def ended_tasks(counts: Counter[str]) -> list[Line]:
    """Return what becomes of tasks whose step or run is ended."""
    waiting, running = counts[QUEUED] + counts[HELD] + counts[SUSPENDED], counts[RUNNING]
    return lines(
        (waiting, _n("waiting task will be cancelled", "waiting tasks will be cancelled", waiting)),
        (running, _n("running handler will be told to stop", "running handlers will be told to stop", running)),
    )


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
    def act(self, run: Run, words: Said, by: str) -> Done | None:
        """Do it to one run; return what came of it, where that is another run."""

    def perform(self, target: Run, words: Said, by: str) -> Done:
        """Do it, unless it has been done already."""
        if target.status in self.done:
            return Done(f"Run {target} is already {in_words(target.status)}.")
        done = self.act(target, words, by)
        return done or Done(f"Run {target} was {self.past}.", [target], self.past.capitalize())


class Pause(RunOperation[Words]):
    """Hold a run."""

    name, label, permission, past = "pause", "Pause", permissions.PAUSE, "paused"
    meaning = "Nothing new starts until it is resumed. Running handlers finish."
    summary = "Hold runs, all of a flow, or a queue: running handlers finish, nothing new starts."
    statuses, done = frozenset({SCHEDULED, RUNNING}), frozenset({PAUSED})

    def unfit(self, target: Run) -> Unfit | None:
        """Leave out runs that are executed by their callers: these have no queue that could be held."""
        unfit = super().unfit(target)
        if unfit is None and target.is_local:
            return Unfit(
                _("This run is executed in its caller's process and cannot be paused."), "executed by its caller"
            )
        return unfit

    def lines(self, run_ids: Sequence[UUID]) -> list[Line]:
        counts = open_tasks(run_ids)
        queued, running = counts[QUEUED], counts[RUNNING]
        return lines(
            (queued, _n("queued task will be held", "queued tasks will be held", queued)),
            (running, _n("running handler will finish", "running handlers will finish", running)),
        )

    def act(self, run: Run, words: Words, by: str) -> None:
        RunHandle(run.pk).pause(words.reason, by)


class Resume(RunOperation[Words]):
    """Let a paused run go on."""

    name, label, permission, past = "resume", "Resume", permissions.PAUSE, "resumed"
    meaning = "Held tasks are queued again, with the delays that remained."
    summary = "Resume paused runs, a paused flow or a paused queue, with the delays that remained."
    statuses, done = frozenset({PAUSED}), frozenset({SCHEDULED, RUNNING})

    def unfit(self, target: Run) -> Unfit | None:
        """Leave out runs whose flow is paused: that has to be resumed."""
        unfit = super().unfit(target)
        if unfit is None and target.flow.paused_at is not None:
            sentence = _("Flow %(flow)s is paused, and all its runs with it. Resume the flow.")
            return Unfit(sentence % {"flow": target.flow.slug}, "paused with its flow")
        return unfit

    def lines(self, run_ids: Sequence[UUID]) -> list[Line]:
        held = open_tasks(run_ids)[HELD]
        return lines((held, _n("held task will be queued again", "held tasks will be queued again", held)))

    def act(self, run: Run, words: Words, by: str) -> None:
        RunHandle(run.pk).resume(words.reason, by)


class Cancel(RunOperation[Words]):
    """End a run as cancelled."""

    name, label, permission, past = "cancel", "Cancel", permissions.CANCEL, "cancelled"
    meaning = (
        "This ends the run now and cannot be undone. "
        "Handlers that are still running are told to stop; their results are discarded."
    )
    summary = "End runs as cancelled: waiting tasks are cancelled, running handlers are told to stop."
    statuses, done = RUN_UNSETTLED, frozenset({CANCELLED})
    is_dangerous = True

    def lines(self, run_ids: Sequence[UUID]) -> list[Line]:
        return ended_tasks(open_tasks(run_ids))

    def notes(self, run: Run) -> Sequence[str]:
        begun = StepRun.objects.using(conf.DATABASE).filter(run=run).exclude(status=WAITING)
        reached = set(begun.order_by().values_list("step", flat=True).distinct())
        never = [name for name in readable_spec(run.version).steps if name not in reached]
        return [_("These steps will never start: %(steps)s.") % {"steps": ", ".join(never)}] if never else []

    def act(self, run: Run, words: Words, by: str) -> None:
        RunHandle(run.pk).cancel(words.reason, by)
