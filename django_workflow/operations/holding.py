"""Pausing and resuming a flow with all its runs, and a queue."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext as _n

from django_workflow import permissions, queue
from django_workflow.conf import conf
from django_workflow.engine.verbs.pause import pause_flow, pause_queue, resume_flow, resume_queue
from django_workflow.models import FlowDefinition, Queue, Run
from django_workflow.operations.operation import MOST, Done, Operation, Preview, Unfit, Words, lines

Row = TypeVar("Row", FlowDefinition, Queue)


class Holding(Operation[Row, Words]):
    """What pauses or resumes a row that says since when it is paused."""

    permission = permissions.PAUSE
    #: Whether the row is paused afterwards.
    pauses: ClassVar[bool]
    #: The engine's verb; it takes the name of the row.
    act: ClassVar[Callable[..., None]]

    @abstractmethod
    def named(self, target: Row) -> str:
        """Return the name of a row."""

    @abstractmethod
    def stands(self) -> str:
        """Say that a row is paused already, or is not paused."""

    def subject(self, target: Row) -> str:
        return f"{self.noun} {self.named(target)}"

    def unfit(self, target: Row) -> Unfit | None:
        return Unfit(self.stands()) if (target.paused_at is not None) == self.pauses else None

    def perform(self, target: Row, words: Words, by: str) -> Done:
        kind = self.noun.capitalize()
        if not self.fits(target):
            return Done(f"{kind} {self.named(target)} is {'already' if self.pauses else 'not'} paused.")
        self.act(self.named(target), reason=words.reason, by=by)
        return Done(f"{kind} {target} was {self.past}.", [target], self.past.capitalize())


class _OfFlow(Holding[FlowDefinition]):
    noun = "flow"

    def flow_of(self, target: FlowDefinition) -> FlowDefinition:
        return target

    def named(self, target: FlowDefinition) -> str:
        return target.slug

    def stands(self) -> str:
        return _("This flow is already paused.") if self.pauses else _("This flow is not paused.")


class _OfQueue(Holding[Queue]):
    noun = "queue"

    def named(self, target: Queue) -> str:
        return target.name

    def stands(self) -> str:
        return _("This queue is already paused.") if self.pauses else _("This queue is not paused.")

    def touched(self, target: Queue, words: Words) -> Preview:
        waiting, total, _age = queue.depth(target.name)
        # hidden ones are claimed, or due later
        others = total - waiting
        if self.pauses:
            told = _n("waiting task will not be taken", "waiting tasks will not be taken", waiting)
        else:
            told = _n("waiting task can be taken again", "waiting tasks can be taken again", waiting)
        stay = _n("task is in progress or delayed", "tasks are in progress or delayed", others)
        return Preview(lines((waiting, told), (others, stay)))


class PauseFlow(_OfFlow):
    """Hold all runs of a flow."""

    name, label, past, pauses = "pause", "Pause", "paused", True
    meaning = "All its runs are held until it is resumed, including those that are started later."
    act = staticmethod(pause_flow)

    def touched(self, target: FlowDefinition, words: Words) -> Preview:
        count = _count(target, status__in=("scheduled", "running"), is_local=False)
        return Preview(lines((count, _n("run will be held", "runs will be held", count))))


class ResumeFlow(_OfFlow):
    """Let the runs of a flow go on."""

    name, label, past, pauses = "resume", "Resume", "resumed", False
    meaning = "Its runs are resumed, except those that were paused on their own."
    act = staticmethod(resume_flow)

    def touched(self, target: FlowDefinition, words: Words) -> Preview:
        count = _count(target, status="paused", is_paused_with_flow=True)
        alone = _count(target, status="paused", is_paused_with_flow=False)
        stay = _n("run was paused on its own and stays paused", "runs were paused on their own and stay paused", alone)
        return Preview(lines((count, _n("run will be resumed", "runs will be resumed", count)), (alone, stay)))


def _count(flow: FlowDefinition, **conditions: Any) -> int:
    runs = Run.objects.using(conf.DATABASE).filter(flow=flow, **conditions)
    return runs.order_by()[:MOST].count()


class PauseQueue(_OfQueue):
    """Let no worker take tasks from a queue."""

    name, label, past, pauses = "pause", "Pause", "paused", True
    meaning = "No worker takes tasks from this queue, whatever run they belong to, until it is resumed."
    act = staticmethod(pause_queue)


class ResumeQueue(_OfQueue):
    """Let workers take tasks from a queue again."""

    name, label, past, pauses = "resume", "Resume", "resumed", False
    meaning = "Workers take tasks from this queue again."
    act = staticmethod(resume_queue)
