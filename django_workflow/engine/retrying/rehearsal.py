"""What a retry would do, by the plan that the retry itself makes; nothing is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.elements import MAP
from django_workflow.definition.registry import registry
from django_workflow.engine.retrying.old_run import RetryVersion, RunToRetry, read_run, version_for
from django_workflow.engine.retrying.planning import Past, Plan
from django_workflow.engine.retrying.request import LATEST, RetryRequest
from django_workflow.engine.retrying.retry import EXISTING_RETRY, Retrying
from django_workflow.engine.retrying.snapshot import Snapshot
from django_workflow.engine.stored import overrides
from django_workflow.exceptions import NotSupported, PayloadError, RunNotFound, UnknownFlow, WorkflowError
from django_workflow.models import FlowVersion
from django_workflow.statuses import RUN_TERMINAL, SKIPPED

#: What becomes of a step: its result is taken over, only some of its items are executed, all of it is.
CARRIED, PARTLY, EXECUTED = "carried", "partly", "executed"
#: Stands for the id of a version that is not stored yet: whoever retries stores it.
UNPUBLISHED: Final = 0


@dataclass(frozen=True, slots=True)
class StepFate:
    """What a retry would do with one step.

    fate: "carried", "partly" or "executed". carried: tasks whose result is taken over.
    executed: tasks that run, where that is known: what follows from new outputs is not.
    is_conditional: it has a condition, which is asked again.
    """

    step: str
    fate: str
    carried: int
    executed: int | None
    is_conditional: bool


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a retry would do.

    steps: in the order of the definition; empty where the retry would be refused. refusal: why it would be.
    existing: a retry of that run which is not settled; asking for another one gives this one.
    version: the number of the definition's version.
    """

    version: int
    steps: tuple[StepFate, ...] = ()
    refusal: WorkflowError | None = None
    existing: UUID | None = None

    @property
    def is_about_input(self) -> bool:
        """Whether the input is refused; the sentence has parts of it."""
        return isinstance(self.refusal, PayloadError)

    @property
    def executed_count(self) -> int:
        """Tasks that run for certain."""
        return sum(step.executed or 0 for step in self.steps)

    @property
    def carried_count(self) -> int:
        """Tasks whose results are taken over."""
        return sum(step.carried for step in self.steps)


READ_STATUS = "SELECT status FROM django_workflow_run WHERE id = %s"


def rehearse(run_id: UUID, request: RetryRequest) -> Rehearsal:
    """Return what `retry` would do with the same request now; raises `RunNotFound`."""
    old = read_run(run_id)
    found = db.rows(READ_STATUS, [run_id])
    if not found:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    if found[0][0] not in RUN_TERMINAL:
        problem = f"Run {run_id} is {found[0][0]}; only a settled run can be retried. Wait for its end, or cancel it."
        return Rehearsal(old.version, refusal=NotSupported(problem, run_id=run_id, status=found[0][0]))
    try:
        version = _version(old, request.version)
    except WorkflowError as error:
        return Rehearsal(old.version, refusal=error)
    unsettled = db.rows(EXISTING_RETRY, [run_id, None])
    if unsettled:
        return Rehearsal(version.number, existing=unsettled[0][0])
    try:
        retrying = Retrying(old, found[0][0], request, version)
        _, _, is_edited = retrying.read_input()
        plan = retrying.plan(is_edited=is_edited)
        retrying.check_code(plan)
    except WorkflowError as error:
        return Rehearsal(version.number, refusal=error)
    return Rehearsal(version.number, _fates(retrying, plan))


def _version(old: RunToRetry, wanted: int | str | None) -> RetryVersion:
    """Return the version of the retry; a definition that is not stored yet is left so."""
    if wanted != LATEST:
        return version_for(old, wanted)
    try:
        spec = overrides.apply(registry.flow(old.flow))
    except UnknownFlow:
        return version_for(old, wanted)
    versions = FlowVersion.objects.using(conf.DATABASE).filter(flow__slug=old.flow)
    known = versions.filter(fingerprint=spec.fingerprint).values_list("pk", "number").first()
    if known is not None:
        return RetryVersion(*known, spec)
    newest = versions.order_by("-number").values_list("number", flat=True).first()
    if newest is None:
        raise NotSupported(f"Flow {old.flow!r} has no version.")
    return RetryVersion(UNPUBLISHED, newest + 1, spec)


COUNT_ITEMS = """
    SELECT step_run_id, count(*) FILTER (WHERE status IN ('succeeded', 'skipped')), count(*)
    FROM django_workflow_task WHERE step_run_id = ANY(%s::bigint[]) AND index >= 0 GROUP BY step_run_id
"""


def _fates(retrying: Retrying, plan: Plan) -> tuple[StepFate, ...]:
    if retrying.snapshot is not None:
        return _fates_on_the_way(retrying, retrying.snapshot)
    past = retrying.past
    counts = db.rows(COUNT_ITEMS, [[past[name].id for name in plan.parts]]) if plan.parts else []
    items = {step_run_id: (done, total - done) for step_run_id, done, total in counts}
    fates = []
    for name, step in retrying.spec.steps.items():
        if name in plan.whole:
            fates.append(
                StepFate(name, CARRIED, _results(past[name], is_map=step.kind == MAP), 0, is_conditional=False)
            )
        elif name in plan.parts:
            done, undone = items.get(past[name].id, (0, 0))
            fates.append(StepFate(name, PARTLY, done, undone, is_conditional=False))
        else:
            known = None if step.kind == MAP else 1
            fates.append(StepFate(name, EXECUTED, 0, known, is_conditional=step.when is not None))
    return tuple(fates)


def _fates_on_the_way(retrying: Retrying, snapshot: Snapshot) -> tuple[StepFate, ...]:
    """Return what becomes of the steps of a flow that decides on its way, as far as its activations tell."""
    kept = Counter(item.step for item in snapshot.kept)
    redone = Counter(item.step for item in snapshot.redone)
    fates = []
    for name, step in retrying.spec.steps.items():
        if not redone[name]:
            fate = CARRIED if kept[name] else EXECUTED
            fates.append(StepFate(name, fate, kept[name], 0 if kept[name] else None, is_conditional=not kept[name]))
        else:
            has_parts = kept[name] > 0 or any(item.step == name for item in snapshot.parts)
            known = None if step.kind == MAP else redone[name]
            fates.append(StepFate(name, PARTLY if has_parts else EXECUTED, kept[name], known, is_conditional=False))
    return tuple(fates)


def _results(past: Past, *, is_map: bool) -> int:
    """Return how many results a carried step has; what an operator gave is one, and a map may have none."""
    if past.status == SKIPPED:
        return 0
    return past.task_count if is_map and not past.is_overridden else 1
