"""Reading where runs stand: how far one is, and lists of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F

from django_workflow import arguments, db, payload, text, times
from django_workflow.conf import conf
from django_workflow.definition.names import is_name
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.stored import outputs, versions
from django_workflow.engine.verbs.start import checked_labels
from django_workflow.exceptions import InvalidArgument, RunNotFound, UnknownFlow
from django_workflow.models import FlowDefinition, Run
from django_workflow.models.fields import ClockTimestamp
from django_workflow.statuses import (
    CANCELLED,
    FAILED,
    RUN_STATUSES,
    RUN_TERMINAL,
    RUNNING,
    SKIPPED,
    STEP_TERMINAL,
    SUCCEEDED,
)


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    status: the run's.
    total: tasks made so far, one for each step that was skipped or still waits, and, while the run is not settled,
        one for each step not reached yet; it grows when a map step begins.
    settled: how many of these are over, however they ended. failed: tasks that failed for good.
    percentage: what was done, of all the tasks that the run has or would have had; 100 for a run that succeeded; None
        for another one with loops.
    current_steps: names of the steps that are running, in the order of the flow.
    output: of a settled run, by leaf step, else None.
    errors: records of the failures so far, with step, class and message.
    """

    status: str
    total: int
    settled: int
    failed: int
    percentage: float | None
    current_steps: list[str]
    output: dict[str, Any] | None
    errors: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _StepRow:
    """The counters of one step run."""

    step: str
    status: str
    task_count: int
    open_tasks: int
    failed_count: int
    error: str | None
    succeeded: int | None

    @property
    def size(self) -> int:
        return max(1, self.task_count)

    @property
    def settled(self) -> int:
        return self.size if self.status in STEP_TERMINAL else self.task_count - self.open_tasks

    @property
    def done(self) -> int:
        """Tasks that succeeded or were skipped."""
        if self.status in (FAILED, CANCELLED):
            return self.succeeded or 0  # its counters do not tell these from those that its end cancelled
        return self.settled - self.failed_count


# one statement, so that run and steps are of one moment; the counters tell what tasks would, but for a map that ended
# before all of its tasks
READ_STANDING = """
    SELECT r.status, r.version_id, r.error, r.output,
           s.step, s.status, s.task_count, s.open_tasks, s.failed_count, s.error,
           CASE WHEN s.status IN ('failed', 'cancelled') AND s.task_count > 1 THEN (
               SELECT count(*) FROM django_workflow_task t WHERE t.step_run_id = s.id AND t.status = 'succeeded') END
    FROM django_workflow_run r LEFT JOIN django_workflow_steprun s ON s.run_id = r.id
    WHERE r.id = %s::uuid ORDER BY s.id
"""


def run_status(run_id: UUID) -> RunStatus:
    """Read how far a run is: one statement, and the outputs of its leaf steps once it is settled.

    Raises `RunNotFound`.
    """
    found = db.rows(READ_STANDING, [run_id])
    if not found:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    status, version_id, error, declared = found[0][:4]
    rows = [_StepRow(*row[4:]) for row in found if row[4] is not None]
    spec = versions.readable_spec(version_id)
    is_settled = status in RUN_TERMINAL
    made, to_come = sum(row.size for row in rows), _steps_to_come(spec, rows)
    settled = sum(row.settled for row in rows)
    return RunStatus(
        status=status,
        total=made if is_settled else made + to_come,
        settled=settled,
        failed=sum(row.failed_count for row in rows),
        percentage=_percentage(spec, status, sum(row.done for row in rows), made + to_come),
        current_steps=_in_order(spec, {row.step for row in rows if row.status == RUNNING}),
        output=outputs.run_output(run_id, spec, payload.loads(declared)) if is_settled and spec is not None else None,
        errors=_errors(rows, error),
    )


def _steps_to_come(spec: FlowSpec | None, rows: Iterable[_StepRow]) -> int:
    return 0 if spec is None else len(set(spec.steps).difference(row.step for row in rows))


def _percentage(spec: FlowSpec | None, status: str, done: int, total: int) -> float | None:
    if status == SUCCEEDED:
        return 100.0
    if spec is None or spec.has_loops:
        return None  # nobody knows how often a loop will turn, or would have
    return 100.0 * done / total if total else 0.0


def _in_order(spec: FlowSpec | None, steps: set[str]) -> list[str]:
    return sorted(steps) if spec is None else [name for name in spec.steps if name in steps]


def _errors(rows: Iterable[_StepRow], error: str | None) -> list[dict[str, Any]]:
    """Return the errors of steps; where there are none, what ended the run."""
    texts = [row.error for row in rows if row.status in (FAILED, SKIPPED)]
    told = [payload.loads(text) for text in texts if text is not None]
    return told or ([payload.loads(error)] if error is not None else [])


#: Orders of `list_runs`. Ids are made of time, so they tell the order in which runs were made without a sort.
ORDERS = {"created": "id", "started": "started_at", "ended": "ended_at"}


def list_runs(
    status: str | Iterable[str] | None = None,
    flow: Any = None,
    *,
    since: datetime | timedelta | None = None,
    labels: Mapping[str, str] | None = None,
    limit: int = 50,
    offset: int = 0,
    order_by: str = "-created",
) -> list[Run]:
    """Return rows of runs, newest first; their input is read when it is asked for.

    status: one status, or several of which any will do.
    flow: a flow or its slug.
    since: made at that time or later, or within that time from now.
    labels: each of them has to be among the run's.
    limit, offset: at most so many, after leaving out so many.
    order_by: "created", "started" or "ended", with "-" before it for the latest first; runs that have not started
        or ended come last.
    Raises `UnknownFlow`, and `InvalidArgument` for arguments that cannot be meant.
    """
    runs: Any = Run.objects.using(conf.DATABASE).select_related("flow").defer("input", "output")
    if status is not None:
        runs = runs.filter(status__in=_checked_statuses(status))
    if flow is not None:
        runs = runs.filter(flow_id=_flow_id(getattr(flow, "slug", flow)))
    if since is not None:
        runs = runs.filter(created_at__gte=_moment(since))
    if labels is not None:
        runs = runs.filter(labels__contains=dict(checked_labels(labels)))
    # both fit where they are added
    limit = arguments.whole(limit, "limit=", least=1, most=arguments.LARGEST // 2)
    offset = arguments.whole(offset, "offset=", most=arguments.LARGEST // 2)
    return list(runs.order_by(*_ordering(order_by))[offset : offset + limit])


def _checked_statuses(status: str | Iterable[str]) -> list[str]:
    wanted = text.several(status, "status=")
    unknown = [item for item in wanted if item not in RUN_STATUSES]
    if unknown:
        told = ", ".join(map(text.shown, unknown))
        raise InvalidArgument(f"runs have no status {told}; known: {', '.join(RUN_STATUSES)}")
    return wanted


def _flow_id(slug: Any) -> int | None:
    """Return a flow's key; None for one that is declared and was never published, which has no runs."""
    if not isinstance(slug, str):
        raise InvalidArgument(f"flow= takes a flow or its slug, not {text.shown(slug)}")
    slug = text.plain(slug, "flow=")
    if not is_name(slug):
        raise UnknownFlow(f"There is no flow {text.shown(slug)}, neither stored nor declared in this process.")
    flows = FlowDefinition.objects.using(conf.DATABASE)
    found: int | None = flows.filter(slug=slug).values_list("pk", flat=True).first()
    if found is None and all(declared.slug != slug for declared in registry.flows()):
        raise UnknownFlow(f"There is no flow {slug!r}, neither stored nor declared in this process.")
    return found


def _moment(since: datetime | timedelta) -> Any:
    if isinstance(since, timedelta):
        return ClockTimestamp() - since
    if not isinstance(since, datetime):
        raise InvalidArgument(f"since= takes a datetime or a timedelta, not {since!r}")
    if not times.is_complete(since):
        raise InvalidArgument("since= needs a time zone; use django.utils.timezone")
    return since


def _ordering(order_by: str) -> list[Any]:
    name = order_by.removeprefix("-") if isinstance(order_by, str) else ""
    if name not in ORDERS:
        known = ", ".join(f"{name}, -{name}" for name in ORDERS)
        raise InvalidArgument(f"runs cannot be ordered by {text.shown(order_by)}; known: {known}")
    is_descending = order_by.startswith("-")
    by_id = F("id").desc() if is_descending else F("id").asc()
    column = F(ORDERS[name])
    if name == "created":
        return [by_id]
    return [column.desc(nulls_last=True) if is_descending else column.asc(nulls_last=True), by_id]
