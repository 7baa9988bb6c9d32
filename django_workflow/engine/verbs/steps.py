"""Operators' verbs on single steps: `skip_step` and `complete_step`; each names who and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import arguments, db, payload, text
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import StepEnd
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun, lock_patiently
from django_workflow.engine.stored.outputs import WHOLE_STEP, read_inputs
from django_workflow.engine.stored.state import StoredState
from django_workflow.engine.writing import cancel_open, tasks
from django_workflow.engine.writing.advance import Advance
from django_workflow.exceptions import AlreadySettled, NotSupported, RunNotFound, UnregisteredHandler
from django_workflow.statuses import RUN_TERMINAL, SKIPPED, STEP_TERMINAL, SUCCEEDED, WAITING

#: Why a step was skipped that an operator skipped.
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class _Target:
    """The step run that a verb is about, and its run, locked."""

    run: LockedRun
    spec: FlowSpec
    step: str
    id: int
    status: str
    reason: str
    scope: int
    iteration: int
    variables_id: int | None


def skip_step(run_id: UUID, step: str, *, reason: str = "", by: str = "", step_run_id: int | None = None) -> None:
    """End a step that waits or runs as skipped; the run goes on as after any skip.

    step_run_id: which activation of it is meant; else the latest one that waits or runs.
    reason, by: recorded with its event.
    Raises `RunNotFound`; `NotSupported` for a step that the flow does not have or the run has not
    reached; `AlreadySettled`. A step that an operator has skipped already stays as it is.
    """
    reason, by = text.remarks(reason, by)
    with db.batch():
        target = _find(run_id, step, step_run_id)
        if target.status in STEP_TERMINAL:
            if (target.status, target.reason) == (SKIPPED, OPERATOR):
                return
            raise _already(target)
        _end(target, SKIPPED, None, reason, by)


def complete_step(
    run_id: UUID,
    step: str,
    value: Any = None,
    *,
    reason: str = "",
    by: str = "",
    step_run_id: int | None = None,
    may_repeat: bool = True,
) -> None:
    """End a step that waits or runs as succeeded with an output of the operator's; the run goes on with it.

    value: what the step gives, of a map step the whole list. Raises as `skip_step`, and `PayloadError`.
    A step that was completed with the same output already stays as it is; where not may_repeat it is refused as any
    other, for those who may not learn by trying what it gave.
    """
    reason, by = text.remarks(reason, by)
    output = payload.dump_output(value, step=step)
    with db.batch():
        target = _find(run_id, step, step_run_id)
        if target.status in STEP_TERMINAL:
            if may_repeat and db.rows(HAS_GIVEN, [target.id, output])[0][0]:
                return
            raise _already(target)
        _end(target, SUCCEEDED, output, reason, by)


HAS_GIVEN = """
    SELECT EXISTS (SELECT 1 FROM django_workflow_task WHERE step_run_id = %s AND index = -1 AND output = %s::jsonb)
"""
FIND_STEP_RUN = """
    SELECT id, status, reason, scope, iteration, variables_id FROM django_workflow_steprun
    WHERE run_id = %s AND step = %s AND (%s::bigint IS NULL OR id = %s::bigint)
    ORDER BY status IN ('waiting', 'running') DESC, id DESC LIMIT 1
"""


def _find(run_id: UUID, step: str, step_run_id: int | None) -> _Target:
    """Lock the run and find the activation that is meant: the step's latest one, if none is named."""
    if step_run_id is not None:
        arguments.whole(step_run_id, "step_run_id=")
    run = lock_patiently([run_id]).get(run_id)
    if run is None:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    spec = versions.spec_of(run.version_id)
    step = text.plain(step, "step=")
    if step not in spec.steps:
        raise NotSupported(f"Flow {spec.slug!r} has no step {text.shown(step)}, only {', '.join(spec.steps)}.")
    for columns in db.rows(FIND_STEP_RUN, [run_id, step, step_run_id, step_run_id]):
        return _Target(run, spec, step, *columns)
    if run.status in RUN_TERMINAL:
        raise AlreadySettled(f"Run {run_id} has already ended {run.status}.", run_id=run_id, status=run.status)
    if step_run_id is not None:
        raise NotSupported(f"Run {run_id} has no activation {step_run_id} of step {step!r}.", run_id=run_id)
    raise NotSupported(
        f"Run {run_id} has not reached step {step!r} yet; a step can be ended once it waits or runs.", run_id=run_id
    )


def _already(target: _Target) -> AlreadySettled:
    return AlreadySettled(
        f"Step {target.step!r} of run {target.run.id} has already ended {target.status}.",
        run_id=target.run.id, status=target.status, step=target.step,
    )  # fmt: skip


SETTLE_STEP_RUN = """
    UPDATE django_workflow_steprun
    SET status = %s, reason = %s, open_tasks = 0, started_at = coalesce(started_at, statement_timestamp()),
        ended_at = statement_timestamp()
    WHERE id = %s AND status IN ('waiting', 'running')
"""


def _end(target: _Target, status: str, output: str | None, reason: str, by: str) -> None:
    """Write the end of the step, and what follows from it; the run's lock is held."""
    run, step = target.run, target.step
    _check_code(target.spec)
    why = OPERATOR if status == SKIPPED else ""
    advance = Advance()
    advance.cancelled |= cancel_open.cancel_tasks([target.id])
    db.add(SETTLE_STEP_RUN, [status, why, target.id])
    if output is not None:
        queue_name = target.spec.steps[step].queue or conf.DEFAULT_QUEUE
        tasks.insert_given(run.id, target.id, WHOLE_STEP, queue_name, output)
    told = {"reason": OPERATOR} | {key: item for key, item in (("by", by), ("why", reason)) if item}
    advance.events.operator(run.id, "step.skipped" if status == SKIPPED else "step.completed", step, told)
    end = StepEnd(
        step, status, id=target.id, scope=target.scope, iteration=target.iteration, variables=target.variables_id
    )
    advance.decide(
        run,
        spec=target.spec,
        state=StoredState(run.id, target.spec, [end], {target.id: output} if output is not None else None),
        input=payload.loads(read_inputs([run.id])[run.id]) if target.spec.reads_input else None,
        also_open=target.status == WAITING,  # a join that waits is not among the open ones
        ends=[end],
    )
    advance.finish([run.id])


def _check_code(spec: FlowSpec) -> None:
    """Refuse where this process could not decide what starts next; elsewhere it can be done."""
    missing = versions.missing_code(spec)
    if missing:
        raise UnregisteredHandler(f"This process has no code for {', '.join(missing)}, which decides what starts next.")
