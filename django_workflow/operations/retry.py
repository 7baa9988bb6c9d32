"""Making a new run from one that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext as _n

from django_workflow import permissions
from django_workflow.conf import conf
from django_workflow.definition.elements import MAP
from django_workflow.engine.retrying.rehearsal import rehearse
from django_workflow.engine.retrying.request import ALL_STEPS, FAILED_STEPS, KEPT, RetryRequest
from django_workflow.engine.retrying.retry import retry
from django_workflow.exceptions import NotSupported, PayloadError, WorkflowError
from django_workflow.models import Run, Task
from django_workflow.operations.operation import Done, Line, Preview, Unfit, Words, lines
from django_workflow.operations.runs import Offer, RunOperation
from django_workflow.read.versions import UNREADABLE, check_readable, is_readable
from django_workflow.statuses import RUN_TERMINAL, SUCCEEDED

#: For those who may not see the input.
MISFIT: Final = "The input as it was does not fit what that version takes."


@dataclass(frozen=True, slots=True)
class RetryWords(Words):
    """How a run is retried; see `RetryRequest`."""

    mode: str = FAILED_STEPS
    from_step: str | None = None
    input: Any = KEPT
    version: int | str | None = None

    def request(self, by: str = "") -> RetryRequest:
        """Return what the engine is asked."""
        return RetryRequest(
            self.mode, self.from_step, self.input, self.version, self.reason, by,
            hides_input=not self.sees_payload, since=self.asked_at,
        )  # fmt: skip

    def without_input(self, error: WorkflowError) -> WorkflowError:
        """Return a refusal without parts of an input that those who ask may not see."""
        is_hidden = isinstance(error, PayloadError) and self.input is KEPT and not self.sees_payload
        return PayloadError(MISFIT) if is_hidden else error


class Retry(RunOperation[RetryWords]):
    """Make a new run from one that has ended."""

    name, label, permission, past = "retry", "Retry", permissions.RETRY, "retried"
    meaning = "A retry is a new run: it takes over what succeeded and runs the rest again. The old run stays as it is."
    summary = "Make a new run from one that ended; what succeeded is reused, the rest runs again."
    statuses = RUN_TERMINAL
    words = RetryWords

    def unfit_in_selection(self, target: Run) -> Unfit | None:
        """Leave out runs that succeeded, too: among several nobody says from which step on."""
        if target.status == SUCCEEDED:
            return Unfit("", "succeeded, there is nothing to retry")
        return self.unfit(target)

    def offers(self, run: Run) -> list[Offer]:
        everything = {"mode": ALL_STEPS}
        if run.status == SUCCEEDED:
            return [Offer(self.name, "Run again", everything)]
        return [Offer(self.name, "Retry failed"), Offer("retry_all", "Run all again", everything)]

    def offer_from(self, step: str) -> Offer:
        """Return the button that begins with a step."""
        return Offer(self.name, "Run again from here", {"from_step": step})

    def called(self, words: RetryWords) -> str:
        if words.from_step:
            return _("Run again from %(step)s") % {"step": words.from_step}
        return _("Run all again") if words.mode == ALL_STEPS else _("Retry failed")

    def confirmation(self, target: Run, words: RetryWords) -> str:
        return self.called(words)

    def lines(self, run_ids: Sequence[UUID]) -> list[Line]:
        failed = Task.objects.using(conf.DATABASE).filter(
            step_run__run__in=run_ids, step_run__status="failed", status="failed"
        )
        count = failed.count()
        return lines((count, _n("failed task will run again", "failed tasks will run again", count)))

    def preview(self, target: Run, words: RetryWords) -> Preview:
        if not is_readable(target.version):
            return Preview(refusal=NotSupported(UNREADABLE))
        rehearsal = rehearse(target.pk, words.request())
        if rehearsal.refusal is not None:
            return Preview(refusal=words.without_input(rehearsal.refusal))
        if rehearsal.existing is not None:
            return Preview(rehearsal=rehearsal, refusal=NotSupported(_("A retry of this run has not ended yet.")))
        executed, carried = rehearsal.executed_count, rehearsal.carried_count
        may_be_more = any(step.is_conditional or step.executed is None for step in rehearsal.steps)
        certain = (
            _n("task will run (more if conditions hold)", "tasks will run (more if conditions hold)", executed)
            if may_be_more
            else _n("task will run", "tasks will run", executed)
        )
        return Preview(
            lines((executed, certain), (carried, _n("result will be reused", "results will be reused", carried))),
            rehearsal=rehearsal,
            maps=[step.name for step in target.version.compiled.steps.values() if step.kind == MAP],
        )

    def act(self, run: Run, words: RetryWords, by: str) -> Done:
        check_readable(run)
        try:
            made = retry(run.pk, words.request(by))
        except PayloadError as error:
            raise words.without_input(error) from error
        if not made.is_new:
            before = f"Run {run} has already been retried"
            return Done(f"{before}.", run_id=made.id, linked=(f"{before}, by ", "this run", "."))
        before = f"Run {run} is retried by "
        return Done(f"{before}run {made.id}.", [run], f"Retried as run {made.id}", made.id, (before, "a new run", "."))
