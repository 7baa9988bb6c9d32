"""What an action will touch, in numbers, before anybody confirms it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, When

from django_workflow import permissions, queue
from django_workflow.conf import conf
from django_workflow.definition.spec import MAP
from django_workflow.engine.rehearsal import Rehearsal, rehearse
from django_workflow.engine.retry_request import KEPT, RetryRequest
from django_workflow.models import FlowDefinition, Queue, Run, StepRun, Task
from django_workflow.statuses import HELD, QUEUED, RUN_TERMINAL, RUNNING, STEP_TERMINAL, SUCCEEDED, SUSPENDED, WAITING
from django_workflow.web import verbs
from django_workflow.web.verbs import Verb
from django_workflow.web.versions import UNREADABLE, is_readable, readable_spec

#: What somebody is told who may not see the input.
MISFIT = "The input as it was does not fit what that version takes."
#: What refusals of the engine advise those who write Python, and the same by what pages offer.
ADVICE = (
    ("Repeat everything with mode='all'", "Choose to execute everything again"),
    (
        "Say from_step= to repeat a part of it, or mode='all'",
        "Choose a step from which on to execute it, or everything",
    ),
    (
        "Begin before these steps with from_step=, or repeat everything with mode='all'",
        "Choose a step before these to begin from, or everything",
    ),
)
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
    status = run.status.replace("_", " ")
    if run.status in verb.done:
        return f"It is {status} already."
    if verb.name == verbs.RESUME and run.status in verb.statuses:
        return f"Its flow {run.flow.slug} is paused, and with it its runs; resume the flow."
    if verb.name == verbs.PAUSE and run.is_local and run.status in verb.statuses:
        return "It is executed in its caller's process; it cannot be paused."
    if run.status in RUN_TERMINAL:
        return f"It has already ended {status}; a finished run is never changed."
    return f"It is {status}; that has to come to an end first."


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
    if verb.name == verbs.PAUSE:
        return [
            Line(count[QUEUED], _tasks(count[QUEUED], "queued", "is held", "are held")),
            Line(count[RUNNING], _handlers(count[RUNNING], "goes on to its end", "go on to their end")),
        ]
    if verb.name == verbs.RESUME:
        return [Line(count[HELD], _tasks(count[HELD], "held", "may go on", "may go on"))]
    return [
        Line(waiting, _tasks(waiting, "waiting", "is cancelled", "are cancelled")),
        Line(count[RUNNING], _handlers(count[RUNNING], "is told to stop", "are told to stop")),
    ]


def _tasks(count: int, kind: str, one: str, many: str) -> str:
    return f"{kind} task {one}" if count == 1 else f"{kind} tasks {many}"


def _handlers(count: int, one: str, many: str) -> str:
    return f"running handler {one}" if count == 1 else f"running handlers {many}"


def _notes(verb: Verb, run: Run) -> list[str]:
    if verb.name != verbs.CANCEL:
        return []
    steps = readable_spec(run.version).steps
    begun = StepRun.objects.using(conf.DATABASE).filter(run=run).exclude(status=WAITING)
    reached = set(begun.order_by().values_list("step", flat=True).distinct())
    never = [name for name in steps if name not in reached]
    return [f"Never started: {', '.join(never)}."] if never else []


def _of_retry(run: Run, request: RetryRequest, *, shows_payload: bool) -> Preview:
    if not is_readable(run.version):
        return Preview(problem=UNREADABLE)
    rehearsal = rehearse(run.pk, request)
    if rehearsal.problem:
        is_hidden = rehearsal.is_about_input and not shows_payload and request.input is KEPT
        return Preview(problem=MISFIT if is_hidden else in_page_words(rehearsal.problem))
    if rehearsal.existing is not None:
        return Preview(rehearsal=rehearsal, problem="A retry of this run is still under way.")
    executed, carried = rehearsal.executed_count, rehearsal.carried_count
    lines = [
        Line(executed, "task is executed for certain" if executed == 1 else "tasks are executed for certain"),
        Line(carried, "result is reused" if carried == 1 else "results are reused"),
    ]
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


def in_page_words(text: str) -> str:
    """Return a refusal of the engine with advice that can be followed on a page."""
    for python, words in ADVICE:
        text = text.replace(python, words)
    return text


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


def _why_not(verb: Verb, run: Run) -> str:
    if verb.name == verbs.RETRY and run.status == SUCCEEDED:
        return "succeeded, there is nothing to retry"
    if verb.fits(run):
        return ""
    if run.status in verb.done:
        return f"already {run.status.replace('_', ' ')}"
    if run.status in RUN_TERMINAL:
        return "settled"
    if run.status not in verb.statuses:
        return run.status
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
        return Preview(
            [Line(count, "failed task is executed again" if count == 1 else "failed tasks are executed again")]
        )
    return Preview(lines=task_lines(verb, ids))


def of_flow(verb: Verb, flow: FlowDefinition) -> Preview:
    """Return what an action on a flow will touch."""
    if (flow.paused_at is None) == (verb.name == verbs.RESUME):
        return Preview(problem="It is paused already." if flow.paused_at else "It is not paused.")
    runs = Run.objects.using(conf.DATABASE).filter(flow=flow)
    if verb.name == verbs.PAUSE:
        count = runs.filter(status__in=("scheduled", "running"), is_local=False).order_by()[:MOST].count()
        return Preview([Line(count, "run is held" if count == 1 else "runs are held")])
    count = runs.filter(status="paused", is_paused_with_flow=True).order_by()[:MOST].count()
    alone = runs.filter(status="paused", is_paused_with_flow=False).order_by()[:MOST].count()
    lines = [Line(count, "run goes on" if count == 1 else "runs go on")]
    return Preview(lines + ([Line(alone, "paused by themselves, they stay so")] if alone else []))


def of_queue(verb: Verb, row: Queue) -> Preview:
    """Return what an action on a queue will touch."""
    if (row.paused_at is None) == (verb.name == verbs.RESUME):
        return Preview(problem="It is paused already." if row.paused_at else "It is not paused.")
    waiting, total, _ = queue.depth(row.name)
    # hidden ones are claimed, or due later
    lines = [Line(waiting, "task waits in it" if waiting == 1 else "tasks wait in it")]
    if total > waiting:
        lines.append(Line(total - waiting, "further messages are in work or due later"))
    return Preview(lines)


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
        return Preview(
            [
                Line(
                    len(letters.fit),
                    "dead letter is dismissed" if len(letters.fit) == 1 else "dead letters are dismissed",
                )
            ]
        )
    count = len({task.run_id for task in letters.fit})
    return Preview([Line(count, "run is retried" if count == 1 else "runs are retried")])
