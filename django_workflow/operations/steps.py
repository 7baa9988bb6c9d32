"""What people do with a step of a run that waits or runs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, When

from django_workflow import permissions
from django_workflow.conf import conf
from django_workflow.engine.verbs.steps import complete_step, skip_step
from django_workflow.exceptions import NotSupported
from django_workflow.models import FlowDefinition, Run, StepRun
from django_workflow.operations.operation import Done, Operation, Preview, Said, Unfit, Words
from django_workflow.operations.runs import ended_tasks, open_tasks, unfit_status
from django_workflow.read.versions import UNREADABLE, check_readable, is_readable
from django_workflow.statuses import RUN_UNSETTLED, RUNNING, STEP_TERMINAL, WAITING


@dataclass(frozen=True, slots=True)
class StepOfRun:
    """A step of a run; `step_run_id` says which of several step runs, else it is the latest that waits or runs."""

    run: Run
    step: str
    step_run_id: int | None = None

    def __str__(self) -> str:
        return f"step {self.step} of {self.run}"


class StepOperation(Operation[StepOfRun, Said]):
    """Something that ends a step."""

    permission = permissions.RETRY
    noun = "step"
    is_dangerous = True

    def flow_of(self, target: StepOfRun) -> FlowDefinition:
        return target.run.flow

    def unfit(self, target: StepOfRun) -> Unfit | None:
        return None if target.run.status in RUN_UNSETTLED else unfit_status(target.run)

    def touched(self, target: StepOfRun, words: Said) -> Preview:
        version = target.run.version
        if not is_readable(version):
            return Preview(refusal=NotSupported(UNREADABLE))
        if target.step not in version.compiled.steps:
            return Preview(refusal=NotSupported(f"Flow {target.run.flow.slug} has no step {target.step!r}."))
        found = _find(target)
        if found is None:
            return Preview(refusal=NotSupported(_not_there(target)))
        if found.status in STEP_TERMINAL:
            return Preview(refusal=NotSupported(f"Step {target.step} has already ended {found.status}."))
        followers = version.compiled.successors[target.step]
        word = "Next" if version.compiled.is_plain else "Next, as far as conditions hold"
        notes = [f"{word}: {', '.join(followers)}." if followers else "No step follows it."]
        if found.iteration > 1 or found.scope:
            notes.insert(0, f"It is pass {found.iteration:,} of the step{' in its scope' if found.scope else ''}.")
        return Preview(ended_tasks(open_tasks([target.run.pk], found.pk)), notes)

    @abstractmethod
    def act(self, target: StepOfRun, words: Said, by: str) -> None:
        """End the step."""

    def perform(self, target: StepOfRun, words: Said, by: str) -> Done:
        check_readable(target.run)
        self.act(target, words, by)
        text = f"Step {target.step} of Run {target.run} was {self.past}."
        return Done(text, [target.run], f"{self.past.capitalize()} step {target.step}")


def _find(target: StepOfRun) -> StepRun | None:
    """Return the step run that the engine would end."""
    step_runs = StepRun.objects.using(conf.DATABASE).filter(run=target.run, step=target.step)
    if target.step_run_id is not None:
        step_runs = step_runs.filter(pk=target.step_run_id)
    found: StepRun | None = step_runs.order_by(
        Case(When(status__in=(WAITING, RUNNING), then=0), default=1), "-id"
    ).first()
    return found


def _not_there(target: StepOfRun) -> str:
    if target.step_run_id is not None:
        return f"The run has no such pass of step {target.step}."
    return f"The run has not reached step {target.step} yet; a step can be ended once it waits or runs."


class SkipStep(StepOperation[Words]):
    """End a step as skipped."""

    name, command, label, past = "skip_step", "skip", "Skip", "skipped"
    meaning = "The step ends as skipped. The steps after it run without its output."
    summary = "End a step that waits or runs as skipped; the run goes on without it."

    def act(self, target: StepOfRun, words: Words, by: str) -> None:
        skip_step(target.run.pk, target.step, reason=words.reason, by=by, step_run_id=target.step_run_id)


@dataclass(frozen=True, slots=True)
class Completion(Words):
    """What a step is completed with."""

    #: Any JSON value; of a map step, the whole list.
    value: Any = None


class CompleteStep(StepOperation[Completion]):
    """End a step as succeeded, with an output."""

    name, command, label, past = "complete_step", "complete", "Mark done", "completed"
    meaning = "The step ends as succeeded with the output you give. The steps after it use that output."
    summary = "End a step that waits or runs as succeeded, with an output of yours; the run goes on with it."
    words = Completion

    def confirmation(self, target: StepOfRun, words: Completion) -> str:
        return f"Mark {self.done_to(target)} done"

    def act(self, target: StepOfRun, words: Completion, by: str) -> None:
        """Complete it; the same value again changes nothing, and tells nothing to those who may not see it."""
        complete_step(
            target.run.pk, target.step, words.value, reason=words.reason, by=by, step_run_id=target.step_run_id,
            may_repeat=words.sees_payload,
        )  # fmt: skip
