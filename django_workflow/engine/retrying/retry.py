"""Retrying a settled run: a new run that takes over what succeeded and executes the rest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.definition.registry import registry
from django_workflow.engine.retrying import planning
from django_workflow.engine.retrying.old_run import (
    IS_ERASED,
    READ_PAST,
    RetryVersion,
    RunToRetry,
    read_run,
    version_for,
)
from django_workflow.engine.retrying.planning import Past, Plan
from django_workflow.engine.retrying.request import ALL_STEPS, KEPT, RetryRequest
from django_workflow.engine.retrying.snapshot import (
    INSERT_KEPT,
    INSERT_PARTS,
    PLACES,
    Copy,
    Place,
    Snapshot,
    snapshot_of,
    whole_and_parts,
    write,
)
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.routing.facts import Decision, Error
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun, facts_of, lock_patiently
from django_workflow.engine.stored.outputs import RunOutputs, read_inputs
from django_workflow.engine.stored.state import STEP_RUN_TABLE, FreshState
from django_workflow.engine.tasks.admission import admission
from django_workflow.engine.verbs.start import check_input
from django_workflow.engine.writing import runs, tasks
from django_workflow.engine.writing.advance import Advance
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.engine.writing.tasks import NewTask
from django_workflow.exceptions import NotSupported, RunNotFound, UnregisteredHandler
from django_workflow.ids import uuid7
from django_workflow.statuses import FAILED, RUN_TERMINAL, RUNNING, SUCCEEDED
from django_workflow.text import shown

EXISTING_RETRY = """
    SELECT id FROM django_workflow_run
    WHERE retry_of_id = %s AND (status IN ('scheduled', 'running', 'paused') OR created_at >= %s::timestamptz)
    ORDER BY id DESC LIMIT 1
"""


class Retried(NamedTuple):
    """The retry of a run, and whether this call made it."""

    id: UUID
    is_new: bool


def retry(run_id: UUID, request: RetryRequest) -> Retried:
    """Make a new run from a settled one, in the caller's transaction.

    Where a retry of that run is not settled yet, or was made since the time that the request names, that one is
    returned.
    Raises `RunNotFound`; `NotSupported` for a run that is not settled, and with all reasons why results
    cannot be carried over as asked; `UnregisteredHandler` where this process has no code to decide what
    starts; `PayloadError` for an input that cannot be stored or does not fit the version's schema.
    """
    old = read_run(run_id)
    version = version_for(old, request.version)
    versions.ensure_queues(versions.queues_of(version.spec))
    with db.batch():
        # two that retry at once: the second one waits here, and finds the retry of the first below
        locked = lock_patiently([run_id]).get(run_id)
        if locked is None:
            raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
        if found := db.rows(EXISTING_RETRY, [run_id, request.since]):
            return Retried(found[0][0], is_new=False)
        if locked.status not in RUN_TERMINAL:
            raise NotSupported(
                f"Run {run_id} is {locked.status}; only a settled run can be retried. Wait for its end, or cancel it.",
                run_id=run_id, status=locked.status,
            )  # fmt: skip
        if db.rows(IS_ERASED, [run_id]):
            raise NotSupported(f"The payloads of run {run_id} were erased; start a new run.", run_id=run_id)
        return Retried(Retrying(old, locked.status, request, version).make(), is_new=True)


class Retrying:
    """One retry, inside its transaction and under the lock of the old run."""

    def __init__(self, old: RunToRetry, status: str, request: RetryRequest, version: RetryVersion) -> None:
        self.old = old
        self.status = status
        self.request = request
        self.version = version
        self.spec = version.spec
        self.old_spec = versions.spec_of(old.version_id)
        self.past = {step: Past(*columns) for step, *columns in db.rows(READ_PAST, [old.id])}
        self.id = uuid7()
        self.snapshot: Snapshot | None = None
        self.final: int | None = None
        self.task_count = 0

    def make(self) -> UUID:
        """Decide what is carried over and what starts, and write it."""
        text, value, is_edited = self.read_input()
        plan = self.plan(is_edited=is_edited)
        self.check_code(plan)
        if self.snapshot is not None:
            return self.go_on(self.snapshot, value)
        decision = self.decide(plan, value)
        row = LockedRun(self.id, RUNNING, self.version.id, 0, 0, False)
        row.begin(decision)
        self.insert(row, text, decision.error or decision.failing, decision.output)
        advance = self.begin()
        # a plain graph publishes nothing: all its steps have the variables with which it begins
        first = decision.variables[0].id if decision.variables else None
        whole = self.places(plan.whole, first)
        write(INSERT_KEPT, self.id, PLACES.of(whole))
        tasks.carry(self.id, [(place.id, place.old_id) for place in whole])
        self.redo(row, advance, list(zip(plan.parts, self.places(plan.parts, first), strict=True)))
        advance.add(row, self.spec, decision)
        advance.finish([self.old.id])
        failed = {self.past[name].id for name in plan.whole if self.past[name].has_tolerated}
        carry_failures(self.id, [(place.id, place.old_id) for place in whole if place.old_id in failed])
        return self.id

    def begin(self) -> Advance:
        """Return the writes of the new run, which begin with its first event."""
        advance = Advance(EventLog(are_first=True))
        told = {"by": self.request.by, "reason": self.request.reason, "from_step": self.request.from_step}
        known = {key: item for key, item in told.items() if item}
        advance.events.run(self.id, "run.started", {"retry_of": str(self.old.id), "mode": self.request.mode} | known)
        return advance

    def go_on(self, snapshot: Snapshot, value: Any) -> UUID:
        """Make the new run as the old one stood when it ended, and begin anew what was open then."""
        copy = Copy(self.id, snapshot, self.final)
        ends = copy.ends(self.spec)
        made = self.task_count - sum(item.task_count for item in snapshot.redone if not item.has_results)
        row = LockedRun(
            self.id, RUNNING, self.version.id, len(snapshot.parts) + len(snapshot.delayed) + len(ends), made, False,
            copy.variables.get(self.final or 0),
        )  # fmt: skip
        advance = self.begin()
        self.insert(row, None, None, None)
        copy.write()
        kept = [item.id for item in snapshot.kept]
        tasks.carry(self.id, [(copy.new[old], old) for old in kept])
        self.redo(row, advance, [(item.step, copy.place(item)) for item in snapshot.parts])
        decision = advance.decide(row, spec=self.spec, input=value, ends=ends, again=copy.again())
        if decision.status == FAILED and decision.error is not None:
            raise self.refused_to_go_on(f"would fail at once: {decision.error['message']}")
        advance.finish([self.old.id])
        carry_failures(self.id, copy.failures())
        return self.id

    def read_input(self) -> tuple[str | None, Any, bool]:
        """Return the new input's text where one is given, the value that routing sees, and whether it differs."""
        is_given = self.request.input is not KEPT
        has_other_schema = self.spec.input_schema != self.old_spec.input_schema
        if not (is_given or has_other_schema or self.spec.reads_input):
            return None, None, False
        before = payload.loads(read_inputs([self.old.id])[self.old.id])
        if not is_given:
            if has_other_schema:
                check_input(self.spec, before)
            return None, before, False
        text = payload.dump_input(self.request.input, flow=self.old.flow)
        value = payload.loads(text)
        check_input(self.spec, value)
        differs = json.dumps(value, sort_keys=True) != json.dumps(before, sort_keys=True)
        return text, value, differs or self.request.hides_input

    def plan(self, *, is_edited: bool) -> Plan:
        """Choose what is carried over; raises `NotSupported` with every reason against it."""
        request = self.request
        if request.mode == ALL_STEPS:
            return Plan()
        if not (self.spec.is_plain and self.old_spec.is_plain):
            return self.plan_to_go_on(is_edited=is_edited)
        if request.from_step is not None and request.from_step not in self.spec.steps:
            known = ", ".join(self.spec.steps)
            raise NotSupported(
                f"Flow {self.old.flow!r} has no step {shown(request.from_step)} to begin from, only {known}."
            )
        plan = planning.plan(
            self.old_spec, self.spec, self.past, from_step=request.from_step,
            is_success=self.status == SUCCEEDED, is_edited=is_edited,
        )  # fmt: skip
        if plan.problems:
            refusal = self.refusal(plan.problems, is_edited=is_edited)
            raise NotSupported(refusal, remedy="earlier_step", problems=plan.problems)
        if self.status == SUCCEEDED and request.from_step is None and len(plan.whole) == len(self.old_spec.steps):
            raise NotSupported(
                f"Nothing failed in run {self.old.id}.",
                remedy="from_step", run_id=self.old.id, status=self.status,
            )  # fmt: skip
        return plan

    def plan_to_go_on(self, *, is_edited: bool) -> Plan:
        """Choose what is begun anew in a run whose flow decides on its way where it goes on."""
        on_its_way = "its flow decides on its way where it goes on, by conditions, loops or variables"
        if self.request.from_step is not None:
            raise self.refused_to_go_on(f"cannot be repeated from a step: {on_its_way}")
        if self.version.id != self.old.version_id or is_edited:
            raise self.refused_to_go_on(f"cannot go on with another input or version: {on_its_way}")
        if self.status == SUCCEEDED:
            raise self.refused_to_go_on("has succeeded")
        error, self.final, self.task_count = _read_end(self.old.id)
        snapshot = snapshot_of(self.old.id, self.spec)
        if not snapshot.has_begun:
            return Plan()
        if not snapshot.goes_on:
            why = error["message"] if error else f"it ended {self.status}"
            raise self.refused_to_go_on(f"has no step that could be begun anew: {why}")
        self.snapshot = snapshot
        whole, parts = whole_and_parts(self.spec, snapshot)
        return Plan(whole=whole, parts=parts)

    def refused_to_go_on(self, problem: str) -> NotSupported:
        """Return the error that says why the run cannot go on, and what to do instead."""
        return NotSupported(
            f"Run {self.old.id} of {self.old.flow!r} {problem}.",
            remedy="all", run_id=self.old.id, status=self.status,
        )  # fmt: skip

    def refusal(self, problems: Sequence[str], *, is_edited: bool) -> str:
        """Say why results cannot be carried over."""
        what = [f"in version {self.version.number}"] if self.version.id != self.old.version_id else []
        what += ["with another input"] if is_edited else []
        lines = "".join(f"\n  - {problem}" for problem in problems)
        return f"Run {self.old.id} cannot be retried {' and '.join(what)} as what it did would be carried over:{lines}"

    def check_code(self, plan: Plan) -> None:
        """Refuse what this process could not decide, or what nobody could execute."""
        rest = [step for name, step in self.spec.steps.items() if name not in plan.whole]
        conditions = {step.when.callable for step in rest if step.when is not None and step.name not in plan.parts}
        missing = {name for name in conditions if name is not None and not registry.has_callable(name)}
        if not self.spec.is_plain:
            missing |= set(versions.missing_code(self.spec))
        if self.old.is_local:
            # it may have been executed with functions of its own
            missing |= {step.handler for step in rest if registry.handler(step.handler) is None}
        if missing:
            names = ", ".join(sorted(missing))
            raise UnregisteredHandler(f"Run {self.old.id} cannot be retried: this process has no code for {names}.")

    def decide(self, plan: Plan, value: Any) -> Decision:
        """Route what starts: entry steps, and what the ends of the carried steps lead to."""
        ends = [planning.end_of(self.old_spec.steps[name], self.past[name]) for name in plan.whole]
        maps = [name for name in plan.carried if self.spec.steps[name].kind == MAP]
        begun = LockedRun(
            self.id, RUNNING, self.version.id, len(ends) + len(plan.parts),
            sum(self.past[name].task_count for name in maps), False,
        )  # fmt: skip
        outputs = planning.Outputs(RunOutputs(self.old.id, self.old_spec), plan.whole)
        facts = facts_of(begun, self.spec, _CarriedState(outputs), value)
        return decide(planning.remainder(self.spec, plan.carried), facts, ends, is_start=True)

    def insert(self, row: LockedRun, text: str | None, error: Error | None, output: Any) -> None:
        """Insert the new run; `text` is its input, None that of the old one."""
        duration = self.spec.max_duration or conf.MAX_DURATION.total_seconds()
        runs.insert_retry(
            self.old.id, row, duration=duration, input=text, error=error, by=self.request.by, output=output
        )

    def places(self, steps: Sequence[str], variables: int | None) -> list[Place]:
        """Return where steps of a plain graph stand in the new run."""
        ids = db.draw_ids(STEP_RUN_TABLE, len(steps))
        return [Place(new, self.past[step].id, variables=variables) for new, step in zip(ids, steps, strict=True)]

    def redo(self, row: LockedRun, advance: Advance, maps: Sequence[tuple[str, Place]]) -> None:
        """Write the maps of which some items are carried, and queue the others."""
        if not maps:
            return
        undone = self.undone([place.old_id for _, place in maps])
        for step, place in maps:
            place.open = len(undone[place.old_id])
            advance.events.step(self.id, "step.started", step)
        write(INSERT_PARTS, self.id, PLACES.of([place for _, place in maps]))
        tasks.carry(self.id, [(place.id, place.old_id) for _, place in maps], only_results=True)
        for step, place in maps:
            copies = self.copies(row, self.spec.steps[step], place, undone[place.old_id])
            tasks.insert(copies, advance.queued, are_copies=True)

    def undone(self, step_run_ids: Sequence[int]) -> dict[int, list[int]]:
        """Return the indexes of items without a result, by step run."""
        indexes: dict[int, list[int]] = defaultdict(list)
        for step_run_id, index in db.rows(READ_UNDONE, [list(step_run_ids)]):
            indexes[step_run_id].append(index)
        return indexes

    def copies(self, row: LockedRun, step: StepSpec, place: Place, indexes: Sequence[int]) -> list[NewTask]:
        """Return items of a map that are executed again, as many as may be in flight; the others are held."""
        limit = step.max_parallel if isinstance(step.max_parallel, int) else None
        queue_name = step.queue or conf.DEFAULT_QUEUE
        numbered = zip(db.draw_ids(tasks.TASK_TABLE, len(indexes)), enumerate(indexes), strict=True)
        return [
            NewTask(
                task_id, row.id, place.id, index, queue_name,
                *admission(row.status, index=number, max_parallel=limit), str(place.old_id),
            )
            for task_id, (number, index) in numbered
        ]  # fmt: skip


def carry_failures(run_id: UUID, pairs: Sequence[tuple[int, int]]) -> None:
    """Copy the last attempts of failed tasks, where handlers ask for them; pairs: new and old ids of step runs."""
    if pairs:
        db.then(CARRY_ATTEMPTS, [run_id, *tasks.CARRIED.params(pairs)])


READ_END = "SELECT error, variables_id, task_count FROM django_workflow_run WHERE id = %s"


def _read_end(run_id: UUID) -> tuple[Error | None, int | None, int]:
    """Return what ended a run, its variables, and how many tasks it made as far as they are counted."""
    error, variables, task_count = db.rows(READ_END, [run_id])[0]
    return payload.loads(error), variables, task_count


class _CarriedState(FreshState):
    """The state of a retry that begins: of the run it follows it has the outputs that are carried over."""

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        super().__init__()
        self._carried = outputs

    def outputs(self, scope: int) -> Mapping[str, Any]:
        return self._carried


CARRY_ATTEMPTS = f"""
    INSERT INTO django_workflow_attempt
        (run_id, task_id, number, is_counted, begun_at, ended_at, outcome, error_class, message, traceback, fingerprint)
    SELECT %s::uuid, t.id, a.number, a.is_counted, a.begun_at, a.ended_at, a.outcome, a.error_class, a.message,
           a.traceback, a.fingerprint
    FROM {tasks.CARRIED}
    JOIN django_workflow_task o ON o.step_run_id = c.old_id AND o.status = 'failed'
    JOIN django_workflow_task t ON t.step_run_id = c.id AND t.index = o.index
    JOIN LATERAL (SELECT * FROM django_workflow_attempt x
                  WHERE x.task_id = o.id ORDER BY x.number DESC, x.id DESC LIMIT 1) a ON true
"""
READ_UNDONE = """
    SELECT step_run_id, index FROM django_workflow_task
    WHERE step_run_id = ANY(%s::bigint[]) AND index >= 0 AND status NOT IN ('succeeded', 'skipped')
    ORDER BY step_run_id, index
"""
