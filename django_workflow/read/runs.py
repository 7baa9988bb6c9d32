"""Lists of runs: what a caller asks for, a page of them by their ids, what runs now and what ended last."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import F, Prefetch, prefetch_related_objects

from django_workflow import arguments, db, text, times
from django_workflow.conf import conf
from django_workflow.definition.names import is_name
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.verbs.start import checked_labels
from django_workflow.exceptions import InvalidArgument, UnknownFlow
from django_workflow.models import FlowDefinition, FlowVersion, Run
from django_workflow.models.fields import ClockTimestamp
from django_workflow.models.querysets import RunQuerySet
from django_workflow.read.run.durations import RUN_BEGUN, UNSERVED
from django_workflow.read.run.steps import DONE, SIZE
from django_workflow.statuses import RUN_STATUSES

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


def add_versions(runs: Sequence[Run]) -> None:
    """Read the versions of runs into them: one statement."""
    # of what is prefetched Django asks the router
    prefetch_related_objects(runs, Prefetch("version", FlowVersion.objects.using(conf.DATABASE)))


def newest() -> RunQuerySet:
    """Return all runs with their flows and versions, newest first."""
    return Run.objects.using(conf.DATABASE).select_related("flow", "version").order_by("-id")


def in_order(ids: Sequence[UUID], flows: Sequence[FlowDefinition]) -> list[Run]:
    """Return the runs with these ids, in their order, of these flows."""
    if not ids:
        return []
    by_key = {flow.pk: flow for flow in flows}
    runs = Run.objects.using(conf.DATABASE).defer("input", "output").in_bulk(list(ids))
    for run in runs.values():
        if run.flow_id in by_key:
            run.flow = by_key[run.flow_id]
    # one may have been pruned between the two statements
    return [runs[run_id] for run_id in ids if run_id in runs and runs[run_id].flow_id in by_key]


#: Rows that `running` and `latest` return.
RUNNING_RUNS: Final = 8
FAILURES: Final = 6
FINISHED: Final = 8
LOWEST, HIGHEST = "0" * 32, "f" * 32

# Of many runs that wait for a worker the oldest are at work, of few the newest are of interest: those that have come
# some way go first. Compared as rows: see `search.OF_FLOW`.
RUNNING_NOW = """
    WITH chosen AS (
        (SELECT id FROM (
            SELECT id, flow_id FROM django_workflow_run WHERE {of_running} ORDER BY status DESC, id DESC LIMIT {window}
        ) newest WHERE {of_flows} LIMIT {most})
        UNION
        (SELECT id FROM (
            SELECT id, flow_id FROM django_workflow_run WHERE {of_running} ORDER BY status, id LIMIT {window}
        ) oldest WHERE {of_flows} LIMIT {most})
    )
    SELECT r.id, r.flow_id, r.title, r.started_at, {begun}, s.total, s.done, s.is_more, s.failed, s.steps, s.at,
           {unserved}, v.spec::text, clock_timestamp()
    FROM (
        SELECT chosen.id, s.* FROM chosen, LATERAL (
            SELECT coalesce(sum({size}), 0)::bigint AS total, coalesce(sum({done}), 0)::bigint AS done,
                   coalesce(sum(failed_count), 0)::bigint AS failed, count(DISTINCT step) AS steps,
                   count(*) > {looked_at} AS is_more,
                   coalesce(string_agg(DISTINCT step, ', ') FILTER (WHERE status = 'running'), '') AS at
            FROM (SELECT * FROM django_workflow_steprun WHERE run_id = chosen.id LIMIT {looked_at} + 1) s
        ) s
        ORDER BY s.done > 0 DESC, chosen.id DESC LIMIT {rows}
    ) s
    JOIN django_workflow_run r ON r.id = s.id
    LEFT JOIN django_workflow_flowversion v ON v.id = r.version_id
    ORDER BY r.id DESC
"""
OF_RUNNING = f"status <> 'succeeded' AND (status, id) BETWEEN ('running', '{LOWEST}') AND ('running', '{HIGHEST}')"
LATEST = """
    (SELECT 'failed', id, flow_id, title, status, started_at, {begun}, ended_at, error->>'class', error->>'step' FROM (
        SELECT * FROM django_workflow_run
        WHERE status <> 'succeeded' AND (status, id) BETWEEN ('failed', '{lowest}') AND ('failed', '{highest}')
        ORDER BY status DESC, id DESC LIMIT {window}
    ) r WHERE {of_flows} ORDER BY ended_at DESC LIMIT {failures})
    UNION ALL
    (SELECT 'ended', id, flow_id, title, status, started_at, {begun}, ended_at, error->>'class', error->>'step' FROM (
        SELECT * FROM django_workflow_run WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT {window}
    ) r WHERE {of_flows} ORDER BY ended_at DESC LIMIT {finished})
"""
#: Runs that are looked at for those of visible flows, and running ones of which the steps are.
WINDOW: Final = 1_000
CANDIDATES: Final = 50
#: Activations of each that are counted: a loop has thousands.
ACTIVATIONS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Progress:
    """A running run and how far it is."""

    id: UUID
    flow: FlowDefinition
    title: str
    started_at: datetime
    #: When a worker began it.
    begun_at: datetime | None
    done: int
    #: Whether counting stopped before its end.
    is_more: bool
    #: 0 where nobody can tell, for the flow has loops.
    total: int
    failed: int
    #: The steps that are running.
    at: str
    #: A queue in which it waits and that no live worker serves.
    unserved: str | None
    #: The database's time at which this was read.
    read_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over."""

    id: UUID
    flow: FlowDefinition
    title: str
    status: str
    started_at: datetime | None
    #: When a worker began it; None where none did.
    begun_at: datetime | None
    ended_at: datetime
    error_class: str | None
    error_step: str | None


def _condition(visible: Sequence[int] | None, count: int) -> tuple[str, list[Any]]:
    if visible is None:
        return "true", []
    return "flow_id = ANY(%s::bigint[])", [list(visible)] * count


def running(flows: Sequence[FlowDefinition], visible: Sequence[int] | None) -> list[Progress]:
    """Return running runs and how far they are: one statement.

    flows: those that may be seen. visible: their keys; None for all.
    """
    of_flows, params = _condition(visible, 2)
    sql = RUNNING_NOW.format(
        of_running=OF_RUNNING,
        of_flows=of_flows,
        window=WINDOW,
        most=CANDIDATES,
        rows=RUNNING_RUNS,
        looked_at=ACTIVATIONS,
        begun=RUN_BEGUN.format(run="r"),
        unserved=UNSERVED.format(run="r"),
        size=SIZE,
        done=DONE,
    )
    by_key = {flow.pk: flow for flow in flows}
    found = []
    for row in db.rows(sql, params):
        run_id, flow_id, title, started_at, begun_at, total, done, is_more, failed, steps, at, unserved, spec, now = row
        count = _steps_of(spec)
        whole = max(total + count - steps, done) if count is not None else 0
        if flow_id in by_key:
            flow = by_key[flow_id]
            found.append(
                Progress(run_id, flow, title, started_at, begun_at, done, is_more, whole, failed, at, unserved, now)
            )
    return found


def _steps_of(text: str | None) -> int | None:
    """Return how many steps a version has; None for one with loops, and for one that this release cannot read."""
    try:
        spec = FlowSpec.from_dict(json.loads(text or ""))
        return None if spec.has_loops else len(spec.steps)
    except (KeyError, TypeError, ValueError):
        return None


def latest(flows: Sequence[FlowDefinition], visible: Sequence[int] | None) -> tuple[list[Ended], list[Ended]]:
    """Return the latest failures, and the runs that ended last: one statement; flows as for `running`."""
    of_flows, params = _condition(visible, 2)
    sql = LATEST.format(
        lowest=LOWEST, highest=HIGHEST, window=WINDOW, of_flows=of_flows, failures=FAILURES, finished=FINISHED,
        begun=RUN_BEGUN.format(run="r"),
    )  # fmt: skip
    by_key = {flow.pk: flow for flow in flows}
    found: dict[str, list[Ended]] = {"failed": [], "ended": []}
    for kind, run_id, flow_id, *rest in db.rows(sql, params):
        if flow_id in by_key:
            found[kind].append(Ended(run_id, by_key[flow_id], *rest))
    return found["failed"], found["ended"]
