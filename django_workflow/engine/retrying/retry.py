"""Retrying a settled run: a new run that takes over what succeeded and executes the rest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django_workflow import db, payload, queue
from django_workflow.conf import conf
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import MAP
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
from django_workflow.engine.retrying.snapshot import INSERT_PARTS, Copy, Snapshot, snapshot_of, whole_and_parts, write
from django_workflow.engine.routing.decide import decide
from django_workflow.engine.routing.facts import Decision, Error
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun, facts_of, lock_patiently
from django_workflow.engine.stored.outputs import RunOutputs, read_inputs
from django_workflow.engine.stored.state import STEP_RUN_TABLE, FreshState, StoredState
from django_workflow.engine.verbs.start import check_input
from django_workflow.engine.writing.advance import CHUNK, TASK_TABLE, Advance
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.exceptions import NotSupported, RunNotFound, UnregisteredHandler
from django_workflow.ids import uuid7
from django_workflow.notifications import notifications
from django_workflow.statuses import FAILED, HELD, QUEUED, RUN_TERMINAL, RUNNING, SUCCEEDED
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
    with db.together():
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
        row = LockedRun(
            self.id, decision.status or RUNNING, self.version.id, decision.open_steps, decision.task_count, False,
            decision.final_variables, decision.failing,
        )  # fmt: skip
        db.execute(INSERT_RETRY, self.columns(row, text, decision.error or decision.failing, decision.output))
        advance = self.begin()
        # a plain graph publishes nothing: all its steps have the variables with which it begins
        first = decision.variables[0].id if decision.variables else None
        whole = self.carry_over(plan, first)
        self.redo(plan, advance, first)
        advance.add(row, self.spec, decision)
        advance.write()
        self.carry_failures(plan, whole)
        db.notify_after_commit(notifications(queues=advance.queues, runs=[self.old.id]))
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
        parts = [(item, copy.place(item)) for item in snapshot.parts]
        ends = copy.ends(self.spec)
        made = self.task_count - sum(item.task_count for item in snapshot.redone if not item.has_results)
        row = LockedRun(
            self.id, RUNNING, self.version.id, len(parts) + len(snapshot.delayed) + len(ends), made, False,
            copy.variables.get(self.final or 0),
        )  # fmt: skip
        advance = self.begin()
        db.execute(INSERT_RETRY, self.columns(row, None, None, None))
        copy.write()
        kept = [item.id for item in snapshot.kept]
        db.execute(CARRY_TASKS, [self.id, [copy.new[old] for old in kept], kept])
        undone = self.undone([item.id for item, _ in parts])
        write(INSERT_PARTS, self.id, [(*place, len(undone[item.id])) for item, place in parts])
        for item, place in parts:
            advance.events.step(self.id, "step.started", item.step)
            db.execute(CARRY_RESULTS, [self.id, place[0], item.id])
            self.queue_again(item.step, item.id, place[0], undone[item.id], advance)
        facts = facts_of(row, self.spec, StoredState(self.id, self.spec), None)
        facts.input = value
        decision = decide(self.spec, facts, ends, again=copy.again())
        if decision.status == FAILED and decision.error is not None:
            raise self.refused_to_go_on(f"would fail at once: {decision.error['message']}")
        advance.add(row, self.spec, decision)
        advance.write()
        carry_failures(self.id, copy.failures())
        db.notify_after_commit(notifications(queues=advance.queues, runs=[self.old.id], cancelled=advance.cancelled))
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
        facts = facts_of(begun, self.spec, _CarriedState(outputs), None)
        facts.input = value
        return decide(planning.remainder(self.spec, plan.carried), facts, ends, is_start=True)

    def columns(self, row: LockedRun, text: str | None, error: Error | None, output: Any) -> list[Any]:
        """Return what the new run's row says; `text` is its input, None that of the old one."""
        duration = self.spec.max_duration or conf.MAX_DURATION.total_seconds()
        return [
            row.id, row.version_id, row.status, row.open_steps, row.task_count, text,
            json.dumps(error) if error else None, self.request.by, row.variables_id,
            None if output is None else json.dumps(output), duration, row.status, self.old.id,
        ]  # fmt: skip

    def carry_over(self, plan: Plan, variables: int | None) -> list[tuple[int, int]]:
        """Write the step runs and tasks of carried steps; return the pairs of new and old step runs."""
        ids = db.draw_ids(STEP_RUN_TABLE, len(plan.whole))
        pairs = [(new, self.past[name].id) for new, name in zip(ids, plan.whole, strict=True)]
        if pairs:
            new_ids, old_ids = (list(column) for column in zip(*pairs, strict=True))
            db.execute(CARRY_STEP_RUNS, [self.id, variables, new_ids, old_ids])
            db.execute(CARRY_TASKS, [self.id, new_ids, old_ids])
        return pairs

    def carry_failures(self, plan: Plan, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy the last attempts of failed tasks in carried steps, where handlers ask for the failures of a step."""
        failed = {self.past[name].id for name in plan.whole if self.past[name].has_tolerated}
        carry_failures(self.id, [pair for pair in pairs if pair[1] in failed])

    def redo(self, plan: Plan, advance: Advance, variables: int | None) -> None:
        """Write the maps of which some items are carried, and queue the others."""
        if not plan.parts:
            return
        indexes = self.undone([self.past[name].id for name in plan.parts])
        for name in plan.parts:
            old_id = self.past[name].id
            new_id = db.draw_ids(STEP_RUN_TABLE, 1)[0]
            advance.events.step(self.id, "step.started", name)
            db.execute(REDO_STEP_RUN, [new_id, self.id, variables, len(indexes[old_id]), old_id])
            db.execute(CARRY_RESULTS, [self.id, new_id, old_id])
            self.queue_again(name, old_id, new_id, indexes[old_id], advance)

    def undone(self, step_run_ids: Sequence[int]) -> dict[int, list[int]]:
        """Return the indexes of items without a result, by step run."""
        indexes: dict[int, list[int]] = defaultdict(list)
        for step_run_id, index in db.rows(READ_UNDONE, [list(step_run_ids)]):
            indexes[step_run_id].append(index)
        return indexes

    def queue_again(self, name: str, old_id: int, step_run_id: int, indexes: Sequence[int], advance: Advance) -> None:
        """Queue items of a map again, as many as may be in flight; the others are held."""
        step = self.spec.steps[name]
        limit = step.max_parallel if isinstance(step.max_parallel, int) else len(indexes)
        queue_name = step.queue or conf.DEFAULT_QUEUE
        common = [self.id, step_run_id, queue_name, old_id]
        for chunk in _chunks(indexes[:limit]):
            ids = db.draw_ids(TASK_TABLE, len(chunk))
            db.execute(*queue.sending(REDO_SENT, [*common, QUEUED, "", ids, list(chunk)], queue_name, ids))
            advance.queues.add(queue_name)
        for chunk in _chunks(indexes[limit:]):
            ids = db.draw_ids(TASK_TABLE, len(chunk))
            db.execute(REDO_HELD, [*common, HELD, "parallel", ids, list(chunk)])


def carry_failures(run_id: UUID, pairs: Sequence[tuple[int, int]]) -> None:
    """Copy the last attempts of failed tasks; pairs: new and old ids of step runs."""
    if pairs:
        # not `execute`: the tasks must have been written before
        db.rows(CARRY_ATTEMPTS, [run_id, *([*column] for column in zip(*pairs, strict=True))])


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


INSERT_RETRY = """
    INSERT INTO django_workflow_run
        (id, flow_id, version_id, retry_of_id, status, is_local, open_steps, task_count, input, error, labels, title,
         started_by, variables_id, output, created_at, deadline_at, started_at, ended_at)
    SELECT %s::uuid, o.flow_id, %s::bigint, o.id, %s::text, false, %s::int, %s::int, coalesce(%s::jsonb, o.input),
           %s::jsonb, o.labels, o.title, %s::text, %s::bigint, %s::jsonb,
           statement_timestamp(), statement_timestamp() + make_interval(secs => %s::float8),
           statement_timestamp(), CASE WHEN %s::text <> 'running' THEN statement_timestamp() END
    FROM django_workflow_run o WHERE o.id = %s
"""
CARRY_STEP_RUNS = """
    INSERT INTO django_workflow_steprun
        (id, run_id, variables_id, step, status, task_count, failed_count, reason, message, error, started_at, ended_at)
    SELECT c.id, %s::uuid, %s::bigint, s.step, s.status, s.task_count, s.failed_count, s.reason, s.message, s.error,
           s.started_at, s.ended_at
    FROM unnest(%s::bigint[], %s::bigint[]) AS c(id, old_id) JOIN django_workflow_steprun s ON s.id = c.old_id
"""
CARRY_TASKS = """
    INSERT INTO django_workflow_task
        (run_id, step_run_id, index, status, origin, queue, attempt, failure_count, lost_count, progress, item, output,
         begun_at, ended_at)
    SELECT %s::uuid, c.id, t.index, t.status, 'carried', t.queue, t.attempt, t.failure_count, t.lost_count, t.progress,
           t.item, t.output, t.begun_at, t.ended_at
    FROM unnest(%s::bigint[], %s::bigint[]) AS c(id, old_id) JOIN django_workflow_task t ON t.step_run_id = c.old_id
"""
CARRY_ATTEMPTS = """
    INSERT INTO django_workflow_attempt
        (run_id, task_id, number, is_counted, begun_at, ended_at, outcome, error_class, message, traceback, fingerprint)
    SELECT %s::uuid, t.id, a.number, a.is_counted, a.begun_at, a.ended_at, a.outcome, a.error_class, a.message,
           a.traceback, a.fingerprint
    FROM unnest(%s::bigint[], %s::bigint[]) AS c(id, old_id)
    JOIN django_workflow_task o ON o.step_run_id = c.old_id AND o.status = 'failed'
    JOIN django_workflow_task t ON t.step_run_id = c.id AND t.index = o.index
    JOIN LATERAL (SELECT * FROM django_workflow_attempt x
                  WHERE x.task_id = o.id ORDER BY x.number DESC, x.id DESC LIMIT 1) a ON true
    RETURNING id
"""
READ_UNDONE = """
    SELECT step_run_id, index FROM django_workflow_task
    WHERE step_run_id = ANY(%s::bigint[]) AND index >= 0 AND status NOT IN ('succeeded', 'skipped')
    ORDER BY step_run_id, index
"""
REDO_STEP_RUN = """
    INSERT INTO django_workflow_steprun (id, run_id, variables_id, step, status, open_tasks, task_count, started_at)
    SELECT %s::bigint, %s::uuid, %s::bigint, step, 'running', %s::int, task_count, statement_timestamp()
    FROM django_workflow_steprun WHERE id = %s
"""
CARRY_RESULTS = """
    INSERT INTO django_workflow_task
        (run_id, step_run_id, index, status, origin, queue, attempt, failure_count, lost_count, progress, item, output,
         begun_at, ended_at)
    SELECT %s::uuid, %s::bigint, t.index, t.status, 'carried', t.queue, t.attempt, t.failure_count, t.lost_count,
           t.progress, t.item, t.output, t.begun_at, t.ended_at
    FROM django_workflow_task t
    WHERE t.step_run_id = %s AND t.index >= 0 AND t.status IN ('succeeded', 'skipped')
"""
REDO_HELD = """
    INSERT INTO django_workflow_task (run_id, step_run_id, queue, id, index, item, status, hold_reason)
    SELECT v.run_id, v.step_run_id, v.queue, n.id, n.index, o.item, v.status, v.reason
    FROM (SELECT %s::uuid, %s::bigint, %s::text, %s::bigint, %s::text, %s::text)
         AS v(run_id, step_run_id, queue, old_id, status, reason)
    CROSS JOIN unnest(%s::bigint[], %s::int[]) AS n(id, index)
    JOIN django_workflow_task o ON o.step_run_id = v.old_id AND o.index = n.index
"""
REDO_SENT = f"""
    INSERT INTO django_workflow_task (run_id, step_run_id, queue, id, index, item, status, hold_reason, message_id)
    SELECT v.run_id, v.step_run_id, v.queue, n.id, n.index, o.item, v.status, v.reason, {queue.MESSAGE_AT_PLACE}
    FROM (SELECT %s::uuid, %s::bigint, %s::text, %s::bigint, %s::text, %s::text)
         AS v(run_id, step_run_id, queue, old_id, status, reason)
    CROSS JOIN unnest(%s::bigint[], %s::int[]) WITH ORDINALITY AS n(id, index, place)
    JOIN django_workflow_task o ON o.step_run_id = v.old_id AND o.index = n.index
"""  # noqa: S608  a constant


def _chunks(items: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
