"""What people do with a run as a whole: pause, resume and cancel it, besides the retry of one that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext as _n

from django_workflow import permissions
from django_workflow.conf import conf
from django_workflow.models import Run, StepRun
from django_workflow.operations import open_tasks
from django_workflow.operations.operation import Line, Unfit, Words, by_name, lines
from django_workflow.operations.retry import RETRY
from django_workflow.operations.run_operation import RunOperation
from django_workflow.read.versions import readable_spec
from django_workflow.runs import RunHandle
from django_workflow.statuses import CANCELLED, HELD, PAUSED, QUEUED, RUN_UNSETTLED, RUNNING, SCHEDULED, WAITING


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
        counts = open_tasks.count(run_ids)
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
        held = open_tasks.count(run_ids)[HELD]
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
        return open_tasks.ended(open_tasks.count(run_ids))

    def notes(self, run: Run) -> Sequence[str]:
        begun = StepRun.objects.using(conf.DATABASE).filter(run=run).exclude(status=WAITING)
        reached = set(begun.order_by().values_list("step", flat=True).distinct())
        never = [name for name in readable_spec(run.version).steps if name not in reached]
        return [_("These steps will never start: %(steps)s.") % {"steps": ", ".join(never)}] if never else []

    def act(self, run: Run, words: Words, by: str) -> None:
        RunHandle(run.pk).cancel(words.reason, by)


RUNS: Final[dict[str, RunOperation[Any]]] = by_name(Pause(), Resume(), Cancel(), RETRY)
