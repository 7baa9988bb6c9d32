"""Ending attempts: `settle` takes a pile of outcomes and makes everything true that follows from them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django_workflow import db, payload
from django_workflow.definition.elements import SINGLE
from django_workflow.engine.routing.facts import StepEnd
from django_workflow.engine.settling import attempts, task_ends
from django_workflow.engine.settling.step_ends import end_step_runs
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun, lock_runs
from django_workflow.engine.stored.outputs import read_inputs
from django_workflow.engine.stored.state import (
    NextIds,
    StoredState,
    expected_variables,
    prefetch,
    prefetch_variables,
    wanted,
)
from django_workflow.engine.tasks.claimed import ClaimedTask, log_fields
from django_workflow.engine.tasks.ending import Ending
from django_workflow.engine.tasks.handoff import Taker
from django_workflow.engine.tasks.inputs import equip_taken
from django_workflow.engine.tasks.outcome import Outcome
from django_workflow.engine.writing import cancel_open, map_slots, runs
from django_workflow.engine.writing.advance import Advance
from django_workflow.notifications import notifications
from django_workflow.statuses import RELEASED, RUN_TERMINAL, SUCCEEDED

logger = logging.getLogger("django_workflow")
#: How long a settle waits for a run that somebody else holds, once it waits at all.
PATIENCE_MS = 25


@dataclass
class Settled:
    """What a settle did.

    done: outcomes that are over and done with, applied or superseded.
    left: outcomes of runs that somebody else holds; they stay in the pile.
    may_begin: fences of lost tasks whose new attempt may begin now.
    superseded: ids of tasks of which an outcome came too late.
    queues, runs, cancelled: whom to notify after the commit.
    delays: seconds until the messages of retries and delayed steps become visible.
    taken: successors that the calling worker claimed. local: tasks of local runs that can be claimed now.
    """

    done: list[Outcome] = field(default_factory=list)
    left: list[Outcome] = field(default_factory=list)
    may_begin: set[tuple[int, int]] = field(default_factory=set)
    superseded: set[int] = field(default_factory=set)
    queues: set[str] = field(default_factory=set)
    runs: set[UUID] = field(default_factory=set)
    cancelled: set[UUID] = field(default_factory=set)
    delays: list[float] = field(default_factory=list)
    taken: list[ClaimedTask] = field(default_factory=list)
    local: list[int] = field(default_factory=list)

    def add(self, other: Settled) -> None:
        """Take over what another settle did."""
        self.done += other.done
        self.left += other.left
        self.delays += other.delays
        self.taken += other.taken
        self.local += other.local
        for name in ("may_begin", "superseded", "queues", "runs", "cancelled"):
            getattr(self, name).update(getattr(other, name))

    def notifications(self) -> list[tuple[str, str]]:
        """Return what to notify, folded."""
        return notifications(queues=self.queues, runs=self.runs, cancelled=self.cancelled)


def settle(outcomes: Sequence[Outcome], *, wait_ms: int | None = None, taker: Taker | None = None) -> Settled:
    """End attempts, and write what follows: retries, successors, ends of runs, events.

    wait_ms: None skips runs that somebody else holds; a number waits so long for each.
    taker: the worker that claims successors at once; what it got is in the result.
    One bad outcome never blocks the pile: where the data is refused the pile is split until the
    culprit alone fails with that error. Errors that say nothing about the data are raised: of the
    connection, deadlocks, cancelled statements. The same pile may be settled again.
    """
    if not outcomes:
        return Settled()
    try:
        return db.with_fresh_ids(lambda: _settle_together(outcomes, wait_ms, taker))
    except Exception as error:
        # whatever one outcome causes must not keep the others from settling
        if not db.is_for_good(error):
            raise
        return _settle_apart(outcomes, wait_ms, error)


def _settle_together(outcomes: Sequence[Outcome], wait_ms: int | None, taker: Taker | None) -> Settled:
    settling = _Settling(outcomes, wait_ms, taker.afresh() if taker is not None else None)
    with db.batch():
        settling.settle()
    return settling.finish()


def _settle_apart(outcomes: Sequence[Outcome], wait_ms: int | None, error: Exception) -> Settled:
    """Halve a pile that was refused, by runs first; a single outcome fails with the error."""
    if len(outcomes) == 1:
        # the failure that comes of it is told once it is settled
        logger.warning("outcome refused: %s", db.for_logs(error), extra=log_fields(outcomes[0].task))
        if not outcomes[0].is_retryable and outcomes[0].output is None:
            # it failed already and still cannot be written: this is no fault of its data
            return _end_its_run(outcomes[0], wait_ms, error)
        return settle([outcomes[0].as_failure(error)], wait_ms=wait_ms)
    ordered = sorted(outcomes, key=lambda outcome: (outcome.task.run_id, outcome.task.id))
    middle = len(ordered) // 2
    result = Settled()
    for half in (ordered[:middle], ordered[middle:]):
        try:
            result.add(settle(half, wait_ms=wait_ms))
        except Exception as refusal:
            if not db.is_for_good(refusal):
                raise
            result.left += half  # one outcome, logged; it waits while the others go on
    return result


IS_HELD = "SELECT id FROM django_workflow_task WHERE id = %s AND lease_id = %s AND status = 'running'"


def _end_its_run(outcome: Outcome, wait_ms: int | None, error: Exception) -> Settled:
    """End the run in which nothing can follow from an outcome: else its handler would run again after each lease."""
    result, run_id = Settled(), outcome.task.run_id
    with db.atomic():
        run = lock_runs([run_id], wait_ms=wait_ms).get(run_id)
        if run is None:
            result.left = [outcome]
            return result
        result.done, result.runs = [outcome], {run_id}
        if db.rows(IS_HELD, list(outcome.task.fence)):
            result.cancelled = runs.fail(run, error)
        else:
            result.superseded = {outcome.task.id}
    return result


class _Settling:
    """One settle, inside its transaction."""

    def __init__(self, outcomes: Sequence[Outcome], wait_ms: int | None, taker: Taker | None) -> None:
        self.outcomes = outcomes
        self.wait_ms = wait_ms
        self.result = Settled()
        self.advance = Advance(taker=taker)
        # outputs of single steps in hand, by step run: they need not be read back
        self.texts: dict[int, str] = {}
        self.ended: list[ClaimedTask] = []

    def finish(self) -> Settled:
        """Equip the tasks that were taken, after the commit."""
        taker = self.advance.taker
        if taker is not None and taker.taken:
            try:
                equip_taken(taker.taken, self.in_hand())
            except Exception as error:
                # what was committed stays known; whoever takes finds these by their lease (`Taker.opened`)
                logger.warning("could not read what %d claimed tasks need: %s", len(taker.taken), error)
            else:
                self.result.taken = taker.taken
        return self.result

    def in_hand(self) -> Callable[[ClaimedTask, str], str | None]:
        """Return what gives the output that a task takes of a step, where it ended here and is no other's."""
        ended = {task.step_run_id: task for task in self.ended if task.step_run_id in self.texts}
        # of a step that may repeat a later pass may have settled before
        only = {
            (task.run_id, task.scope, task.step.name): key
            for key, task in ended.items()
            if task.step.name not in task.spec.repeating
        }

        def find(task: ClaimedTask, step: str) -> str | None:
            source = ended.get(task.source_id) if task.source_id is not None else None
            if source is not None and source.step.name == step:
                return self.texts[source.step_run_id]
            key = only.get((task.run_id, task.scope, step))
            return None if key is None else self.texts[key]

        return find

    def settle(self) -> None:
        locked = lock_runs({outcome.task.run_id for outcome in self.outcomes}, wait_ms=self.wait_ms)
        mine = self.set_apart(locked)
        endings = [Ending.of(outcome, locked[outcome.task.run_id]) for outcome in mine]
        endings, late = task_ends.first_of_each(endings)
        applied = task_ends.end_tasks(endings)
        late += [item for item in endings if item.outcome.task.fence not in applied]
        endings = [item for item in endings if item.outcome.task.fence in applied]
        step_ends = self.count_down(endings)
        self.record_late(late)
        self.decide(locked, step_ends, endings)
        self.advance.write()
        task_ends.drop_messages(endings)
        self.result.may_begin = {item.outcome.task.fence for item in endings if item.keeps_lease}
        self.result.queues |= self.advance.queued.queues
        self.result.cancelled |= self.advance.cancelled
        # whoever puts a task aside for others does not come back for it before them
        self.result.delays = [item.delay for item in endings if item.keeps_message and item.outcome.kind != RELEASED]
        self.result.delays += self.advance.queued.delays
        self.result.local = self.advance.queued.local
        self.result.runs = {item.outcome.task.run_id for item in endings}

    def set_apart(self, locked: dict[UUID, LockedRun]) -> list[Outcome]:
        """Keep the outcomes of locked runs; leave the others for another time, drop those of deleted runs."""
        mine: list[Outcome] = []
        for outcome in self.outcomes:
            if outcome.task.run_id in locked:
                mine.append(outcome)
            elif self.wait_ms is None:
                self.result.left.append(outcome)
            else:
                self.result.done.append(outcome)
                self.result.superseded.add(outcome.task.id)
        self.result.done += mine
        return mine

    def record_late(self, late: Sequence[Ending]) -> None:
        """A result whose lease is over changes nothing; that it came is recorded once."""
        self.result.superseded |= {item.outcome.task.id for item in late}
        attempts.record_superseded(late)

    def count_down(self, endings: Sequence[Ending]) -> dict[UUID, list[StepEnd]]:
        """Write attempts and step runs; return the steps that ended, by run."""
        attempts.record_attempts(endings)
        self.advance.telling.attempts = [item for item in endings if item.outcome.error is not None]
        task_ends.write_task_events(endings, self.advance.events)
        steps = end_step_runs(endings, self.advance.events)
        self.advance.cancelled |= cancel_open.cancel_tasks(steps.closed)
        self.advance.queued.queues |= map_slots.release_held(steps.freed)
        return steps.ended

    def decide(
        self, locked: dict[UUID, LockedRun], step_ends: dict[UUID, list[StepEnd]], endings: Sequence[Ending]
    ) -> None:
        """Route every run in which a step ended."""
        live = [run_id for run_id in step_ends if locked[run_id].status not in RUN_TERMINAL]
        specs = {run_id: versions.spec_of(locked[run_id].version_id) for run_id in live}
        for item in endings:
            task = item.outcome.task
            self.ended.append(task)
            if item.outcome.kind == SUCCEEDED and task.step.kind == SINGLE:
                self.texts[task.step_run_id] = item.outcome.output or "null"
        inputs = read_inputs(run_id for run_id in live if specs[run_id].reads_input)
        ids = NextIds(sum(expected_variables(specs[run_id], step_ends[run_id]) for run_id in live))
        states = {run_id: StoredState(run_id, specs[run_id], step_ends[run_id], self.texts, ids) for run_id in live}
        prefetch([
            (states[run_id], *wanted(specs[run_id], step_ends[run_id]))
            for run_id in live
            if specs[run_id].has_joins or not specs[run_id].is_bounded
        ])  # fmt: skip
        prefetch_variables(
            (states[run_id], step_ends[run_id], locked[run_id].variables_id)
            for run_id in live
            if specs[run_id].uses_variables
        )
        for run_id in live:
            self.advance.decide(
                locked[run_id], spec=specs[run_id], state=states[run_id], input=payload.loads(inputs.get(run_id)),
                ends=step_ends[run_id],
            )  # fmt: skip
