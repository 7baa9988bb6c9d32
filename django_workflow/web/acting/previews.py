"""What an action will touch, in numbers, before anybody confirms it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, When
from django.utils.translation import gettext as _
from django.utils.translation import ngettext as _n

from django_workflow import permissions, queue
from django_workflow.conf import conf
from django_workflow.definition.spec import MAP
from django_workflow.engine.retrying.rehearsal import Rehearsal, rehearse
from django_workflow.engine.retrying.request import KEPT, RetryRequest
from django_workflow.exceptions import Remedy
from django_workflow.models import FlowDefinition, Queue, Run, StepRun, Task
from django_workflow.read.versions import UNREADABLE, is_readable, readable_spec
from django_workflow.statuses import (
    CANCELLED,
    FAILED,
    HELD,
    QUEUED,
    RUN_TERMINAL,
    RUNNING,
    STEP_TERMINAL,
    SUCCEEDED,
    SUSPENDED,
    TIMED_OUT,
    WAITING,
)
from django_workflow.templatetags.django_workflow import words
from django_workflow.web.acting import verbs
from django_workflow.web.acting.verbs import Verb

#: What somebody is told who may not see the input.
MISFIT = "The input as it was does not fit what that version takes."
#: What can be done instead of a retry that is refused, by what the page offers.
REMEDIES: Mapping[Remedy, str] = {
    "all": "Choose to run all steps again.",
    "from_step": "Choose a step to run again from, or all steps.",
    "earlier_step": "Choose a step before these to run again from, or all steps.",
}
#: Counts that would take long stop here.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Line:
    """A number and what it is the number of."""

    count: int
    text: str

    @property
    def is_at_least(self) -> bool:
        """Whether counting stopped before the end."""
        return self.count >= MOST


@dataclass(slots=True)
class Preview:
    """What an action will touch.

    lines: in numbers. maps: the steps of which a task for each item is executed.
    rehearsal: of a retry, what becomes of each step. notes: further sentences.
    problem: why it cannot be done; there is nothing to confirm then.
    """

    lines: list[Line] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)
    rehearsal: Rehearsal | None = None
    notes: list[str] = field(default_factory=list)
    problem: str = ""


def of_run(
    verb: Verb,
    run: Run,
    *,
    step: str = "",
    activation: int | None = None,
    request: RetryRequest | None = None,
    shows_payload: bool = False,
) -> Preview:
    """Return what an action on one run will touch.

    step, activation: that is skipped or completed. request: how a run is to be retried.
    shows_payload: whether the user may see parts of the input.
    """
    if verb.name == verbs.RETRY:
        return _of_retry(run, request or RetryRequest(), shows_payload=shows_payload)
    if run.status not in verb.statuses:
        return Preview(problem=unfit(verb, run))
    if not verb.fits(run):
        return Preview(problem=unfit(verb, run))
    if verb.name in (verbs.SKIP_STEP, verbs.COMPLETE_STEP):
        return _of_step(verb, run, step, activation)
    return Preview(lines=task_lines(verb, [run.pk]), notes=_notes(verb, run))


def unfit(verb: Verb, run: Run) -> str:
    """Say why an action makes no sense for a run as it stands."""
    status = words(run.status)
    if run.status in verb.done:
        return _("This run is already %(status)s.") % {"status": status}
    if verb.name == verbs.RESUME and run.status in verb.statuses:
        return _("Flow %(flow)s is paused, and all its runs with it. Resume the flow.") % {"flow": run.flow.slug}
    if verb.name == verbs.PAUSE and run.is_local and run.status in verb.statuses:
        return _("This run is executed in its caller's process and cannot be paused.")
    if run.status in RUN_TERMINAL:
        return ENDED[run.status]() + " " + _("Ended runs cannot be changed.")
    return _("This run is %(status)s. Wait until it has ended.") % {"status": status}


#: How the end of a run is told to whoever wants to change it.
ENDED = {
    SUCCEEDED: lambda: _("This run has already succeeded."),
    FAILED: lambda: _("This run has already failed."),
    CANCELLED: lambda: _("This run has already been cancelled."),
    TIMED_OUT: lambda: _("This run has already timed out."),
}


def open_tasks(run_ids: Sequence[UUID], step_run_id: int | None = None) -> Counter[str]:
    """Count the tasks of runs, or of one activation, that are not over, by status."""
    tasks = Task.objects.using(conf.DATABASE).filter(step_run__run__in=run_ids, step_run__status=RUNNING)
    if step_run_id is not None:
        tasks = tasks.filter(step_run=step_run_id)
    found = tasks.unsettled().order_by().values_list("status").annotate(count=Count("id"))
    return Counter(dict(found))


def task_lines(verb: Verb, run_ids: Sequence[UUID], step_run_id: int | None = None) -> list[Line]:
    """Return what becomes of the tasks of runs, or of one activation."""
    count = open_tasks(run_ids, step_run_id)
    waiting = count[QUEUED] + count[HELD] + count[SUSPENDED]
    queued, held, running = count[QUEUED], count[HELD], count[RUNNING]
    if verb.name == verbs.PAUSE:
        return _lines(
            (queued, _n("queued task will be held", "queued tasks will be held", queued)),
            (running, _n("running handler will finish", "running handlers will finish", running)),
        )
    if verb.name == verbs.RESUME:
        return _lines((held, _n("held task will be queued again", "held tasks will be queued again", held)))
    return _lines(
        (waiting, _n("waiting task will be cancelled", "waiting tasks will be cancelled", waiting)),
        (running, _n("running handler will be told to stop", "running handlers will be told to stop", running)),
    )


def _lines(*lines: tuple[int, str]) -> list[Line]:
    """Return lines without those about nothing."""
    return [Line(count, text) for count, text in lines if count]


def _notes(verb: Verb, run: Run) -> list[str]:
    if verb.name != verbs.CANCEL:
        return []
    steps = readable_spec(run.version).steps
    begun = StepRun.objects.using(conf.DATABASE).filter(run=run).exclude(status=WAITING)
    reached = set(begun.order_by().values_list("step", flat=True).distinct())
    never = [name for name in steps if name not in reached]
    return [_("These steps will never start: %(steps)s.") % {"steps": ", ".join(never)}] if never else []


def _of_retry(run: Run, request: RetryRequest, *, shows_payload: bool) -> Preview:
    if not is_readable(run.version):
        return Preview(problem=UNREADABLE)
    rehearsal = rehearse(run.pk, request)
    if rehearsal.refusal is not None:
        is_hidden = rehearsal.is_about_input and not shows_payload and request.input is KEPT
        return Preview(problem=MISFIT if is_hidden else rehearsal.refusal.worded(REMEDIES))
    if rehearsal.existing is not None:
        return Preview(rehearsal=rehearsal, problem=_("A retry of this run has not ended yet."))
    executed, carried = rehearsal.executed_count, rehearsal.carried_count
    may_be_more = any(step.is_conditional or step.executed is None for step in rehearsal.steps)
    certain = (
        _n("task will run (more if conditions hold)", "tasks will run (more if conditions hold)", executed)
        if may_be_more
        else _n("task will run", "tasks will run", executed)
    )
    lines = _lines((executed, certain), (carried, _n("result will be reused", "results will be reused", carried)))
    maps = [step.name for step in run.version.compiled.steps.values() if step.kind == MAP]
    return Preview(lines=lines, maps=maps, rehearsal=rehearsal)


def _of_step(verb: Verb, run: Run, step: str, activation: int | None) -> Preview:
    if not is_readable(run.version):
        return Preview(problem=UNREADABLE)
    steps = run.version.compiled.steps
    if step not in steps:
        return Preview(problem=f"Flow {run.flow.slug} has no step {step!r}.")
    activations = StepRun.objects.using(conf.DATABASE).filter(run=run, step=step)
    if activation is not None:
        activations = activations.filter(pk=activation)
    # the one that the engine would end
    found = activations.order_by(Case(When(status__in=(WAITING, RUNNING), then=0), default=1), "-id").first()
    if found is None and activation is not None:
        return Preview(problem=f"The run has no such pass of step {step}.")
    if found is None:
        return Preview(problem=f"The run has not reached step {step} yet; a step can be ended once it waits or runs.")
    if found.status in STEP_TERMINAL:
        return Preview(problem=f"Step {step} has already ended {found.status}.")
    followers = run.version.compiled.successors[step]
    is_certain = run.version.compiled.is_plain
    word = "Next" if is_certain else "Next, as far as conditions hold"
    notes = [f"{word}: {', '.join(followers)}." if followers else "No step follows it."]
    if found.iteration > 1 or found.scope:
        notes.insert(0, f"It is pass {found.iteration:,} of the step{' in its scope' if found.scope else ''}.")
    return Preview(lines=task_lines(verb, [run.pk], found.pk), notes=notes)


@dataclass(slots=True)
class Selection:
    """Runs that somebody chose, told apart by what an action can do with them.

    fit: it can be done. unfit: it cannot, by why. forbidden: they may not. missing: ids of no run that they see.
    """

    fit: list[Run] = field(default_factory=list)
    unfit: Counter[str] = field(default_factory=Counter)
    forbidden: int = 0
    missing: int = 0

    @property
    def count(self) -> int:
        """How many were chosen."""
        return len(self.fit) + self.unfit.total() + self.forbidden + self.missing

    def sentence(self, verb: Verb) -> str:
        """Say what will be done with how many, and what not, in one sentence."""
        parts = [f"{len(self.fit)} of {self.count} will be {verb.past}"]
        parts += [f"{count} {why}" for why, count in sorted(self.unfit.items())]
        if self.forbidden:
            parts.append(f"{self.forbidden} of flows on which you may not do this")
        if self.missing:
            parts.append(f"{self.missing} do not exist" if self.missing > 1 else "1 does not exist")
        return "; ".join(parts) + "."


def select(user: Any, verb: Verb, run_ids: Sequence[UUID]) -> Selection:
    """Tell chosen runs apart."""
    runs = Run.objects.using(conf.DATABASE).select_related("flow").defer("input", "output", "error", "flow__draft")
    found = {run.pk: run for run in runs.filter(pk__in=run_ids)}
    allowed: dict[tuple[int, str], bool] = {}

    def may(flow: FlowDefinition, permission: str) -> bool:
        key = (flow.pk, permission)
        if key not in allowed:
            allowed[key] = permissions.may(user, permission, flow)
        return allowed[key]

    selection = Selection()
    for run_id in dict.fromkeys(run_ids):
        run = found.get(run_id)
        if run is None or not may(run.flow, permissions.VIEW):
            selection.missing += 1
        elif not may(run.flow, verb.permission):
            selection.forbidden += 1
        elif why := _why_not(verb, run):
            selection.unfit[why] += 1
        else:
            selection.fit.append(run)
    return selection


def fits(verb: Verb, run: Run) -> bool:
    """Say whether an action on several runs would do something with this one."""
    return not _why_not(verb, run)


def _why_not(verb: Verb, run: Run) -> str:
    if verb.name == verbs.RETRY and run.status == SUCCEEDED:
        return "succeeded, there is nothing to retry"
    if verb.fits(run):
        return ""
    if run.status in verb.done:
        return f"already {words(run.status)}"
    if run.status in RUN_TERMINAL:
        return "ended"
    if run.status not in verb.statuses:
        return words(run.status)
    return "paused with its flow" if verb.name == verbs.RESUME else "executed by its caller"


def of_selection(verb: Verb, selection: Selection) -> Preview:
    """Return what an action on chosen runs will touch."""
    ids = [run.pk for run in selection.fit]
    if not ids:
        return Preview(problem=selection.sentence(verb))
    if verb.name == verbs.RETRY:
        failed = Task.objects.using(conf.DATABASE).filter(
            step_run__run__in=ids, step_run__status="failed", status="failed"
        )
        count = failed.count()
        return Preview(_lines((count, _n("failed task will run again", "failed tasks will run again", count))))
    return Preview(lines=task_lines(verb, ids))


def of_flow(verb: Verb, flow: FlowDefinition) -> Preview:
    """Return what an action on a flow will touch."""
    if (flow.paused_at is None) == (verb.name == verbs.RESUME):
        told = _("This flow is already paused.") if flow.paused_at else _("This flow is not paused.")
        return Preview(problem=told)
    runs = Run.objects.using(conf.DATABASE).filter(flow=flow)
    if verb.name == verbs.PAUSE:
        count = runs.filter(status__in=("scheduled", "running"), is_local=False).order_by()[:MOST].count()
        return Preview(_lines((count, _n("run will be held", "runs will be held", count))))
    count = runs.filter(status="paused", is_paused_with_flow=True).order_by()[:MOST].count()
    alone = runs.filter(status="paused", is_paused_with_flow=False).order_by()[:MOST].count()
    stay = _n("run was paused on its own and stays paused", "runs were paused on their own and stay paused", alone)
    return Preview(_lines((count, _n("run will be resumed", "runs will be resumed", count)), (alone, stay)))


def of_queue(verb: Verb, row: Queue) -> Preview:
    """Return what an action on a queue will touch."""
    if (row.paused_at is None) == (verb.name == verbs.RESUME):
        told = _("This queue is already paused.") if row.paused_at else _("This queue is not paused.")
        return Preview(problem=told)
    waiting, total, _age = queue.depth(row.name)
    # hidden ones are claimed, or due later
    others = total - waiting
    if verb.name == verbs.PAUSE:
        told = _n("waiting task will not be taken", "waiting tasks will not be taken", waiting)
    else:
        told = _n("waiting task can be taken again", "waiting tasks can be taken again", waiting)
    return Preview(
        _lines(
            (waiting, told), (others, _n("task is in progress or delayed", "tasks are in progress or delayed", others))
        )
    )


@dataclass(slots=True)
class Letters:
    """Dead letters that somebody chose: those that are, with their runs; how many they may not touch, or are none."""

    fit: list[Task] = field(default_factory=list)
    forbidden: int = 0
    missing: int = 0

    @property
    def count(self) -> int:
        """How many were chosen."""
        return len(self.fit) + self.forbidden + self.missing

    def sentence(self, verb: Verb) -> str:
        """Say what will be done with how many, and what not, in one sentence."""
        parts = [f"{len(self.fit)} of {self.count} will be {verb.past}"]
        if self.forbidden:
            parts.append(f"{self.forbidden} of flows on which you may not do this")
        if self.missing:
            parts.append(f"{self.missing} are no dead letters, or are no more")
        return "; ".join(parts) + "."


def select_letters(user: Any, verb: Verb, task_ids: Sequence[int]) -> Letters:
    """Tell chosen dead letters apart."""
    tasks = (
        Task.objects.using(conf.DATABASE)
        .select_related("run__flow", "step_run")
        .defer("run__input", "run__output", "item", "output")
    )
    dead = tasks.filter(
        status="failed", step_run__status="failed", run__status="failed", dismissal__isnull=True, pk__in=task_ids
    ).order_by("pk")
    if verb.name == verbs.RETRY:
        dead = dead.filter(run__retries__isnull=True)
    letters = Letters()
    for task in dead:
        if not permissions.may(user, permissions.VIEW, task.run.flow):
            continue
        if permissions.may(user, verb.permission, task.run.flow):
            letters.fit.append(task)
        else:
            letters.forbidden += 1
    letters.missing = len(set(task_ids)) - len(letters.fit) - letters.forbidden
    return letters


def of_letters(verb: Verb, letters: Letters) -> Preview:
    """Return what an action on dead letters will touch."""
    if not letters.fit:
        return Preview(problem=letters.sentence(verb))
    if verb.name == verbs.DISMISS:
        number = len(letters.fit)
        told = _n("dead letter will be dismissed", "dead letters will be dismissed", number)
        return Preview(_lines((number, told)))
    count = len({task.run_id for task in letters.fit})
    return Preview(_lines((count, _n("run will be retried", "runs will be retried", count))))
