"""The board: what runs now, what went wrong, who works, and what can be started."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from django_workflow import db
from django_workflow.definition.spec import FlowSpec
from django_workflow.models import FlowDefinition
from django_workflow.read.durations import RUN_BEGUN, UNSERVED
from django_workflow.statuses import PAUSED, RUNNING, SCHEDULED
from django_workflow.web.access import page
from django_workflow.web.acting.buttons import flow_buttons
from django_workflow.web.overview import throughput, workers_and_queues
from django_workflow.web.runs import run_counts
from django_workflow.web.runs.run_list import visible_flows

#: Rows of each part.
RUNNING_RUNS: Final = 8
FAILURES: Final = 6
FINISHED: Final = 8
#: Flows that are shown at once; the others are folded away.
FLOWS: Final = 12
LOWEST, HIGHEST = "0" * 32, "f" * 32

# Of many runs that wait for a worker the oldest are at work, of few the newest are of interest: those that have come
# some way go first. Compared as rows: see `finding.OF_FLOW`.
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
           {unserved}, v.spec::text
    FROM (
        SELECT chosen.id, s.* FROM chosen, LATERAL (
            SELECT coalesce(sum(greatest(1, task_count)), 0)::bigint AS total,
                   coalesce(sum(CASE WHEN status IN ('succeeded', 'skipped') THEN greatest(1, task_count)
                                     WHEN status = 'running' THEN task_count - open_tasks END - failed_count),
                            0)::bigint AS done,
                   coalesce(sum(failed_count), 0)::bigint AS failed, count(DISTINCT step) AS steps,
                   count(*) > {looked_at} AS is_more,
                   coalesce(string_agg(DISTINCT step, ', ') FILTER (WHERE status = 'running'), '') AS at
            FROM (SELECT * FROM django_workflow_steprun WHERE run_id = chosen.id LIMIT {looked_at} + 1) looked_at
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
    """A running run and how far it is; total is 0 where nobody can tell, for the flow has loops.

    begun_at: when a worker began it. is_more: counting stopped before its end. unserved: a queue in which it waits and
    that no worker serves.
    """

    id: UUID
    flow: FlowDefinition
    title: str
    started_at: datetime
    begun_at: datetime | None
    done: int
    is_more: bool
    total: int
    failed: int
    at: str
    unserved: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over. begun_at: when a worker began it; None where none did."""

    id: UUID
    flow: FlowDefinition
    title: str
    status: str
    started_at: datetime | None
    begun_at: datetime | None
    ended_at: datetime
    error_class: str | None
    error_step: str | None


@require_safe
@page
def board(request: HttpRequest) -> HttpResponse:
    """Show what runs now: six statements at most."""
    flows, visible = visible_flows(request)
    counts, beat = _figures(visible)
    failures, finished = _latest(flows, visible)
    queues, workers = workers_and_queues.read()
    workers_and_queues.read_depths(queues)
    live = [worker for worker in workers if worker.state == workers_and_queues.LIVE]
    buttons = [(flow, flow_buttons(request.user, flow)) for flow in flows if flow.retired_at is None]
    context = {
        "page": "board",
        "counts": {name: counts[name] for name in (RUNNING, SCHEDULED, PAUSED)},
        "is_new": not any(count.number for count in counts.values()),
        "pulse": beat,
        "spark": {
            "width": throughput.WIDTH,
            "height": throughput.HEIGHT,
            "bar": throughput.WIDTH / throughput.MINUTES - throughput.GAP,
        },
        "running": _running(flows, visible),
        "failures": failures,
        "finished": finished,
        "flows": buttons[:FLOWS],
        "more_flows": buttons[FLOWS:],
        "may_start": any(button.name == "start" for _, found in buttons for button in found),
        "queues": queues,
        "warnings": [state for state in queues if state.is_abandoned or state.is_late or state.paused_at],
        "paused_flows": [flow for flow in flows if flow.paused_at is not None],
        "waiting": _sum([state.visible for state in queues]),
        "workers": live,
        "silent": [worker for worker in workers if worker.state == workers_and_queues.SILENT],
        "busy": sum(worker.running_count for worker in live),
        "room": sum(worker.concurrency for worker in live),
    }
    return render(request, "django_workflow/board.html", context)


def _figures(visible: Sequence[int] | None) -> tuple[dict[str, run_counts.Count], throughput.Pulse]:
    """Count runs by status, and those that ended, in one statement."""
    statements = [run_counts.statement(visible), throughput.statement(visible)]
    sql = " UNION ALL ".join(f"({text})" for text, _ in statements)
    rows = db.rows(sql, [value for _, params in statements for value in params])
    return run_counts.counted(rows, is_of_all=visible is None), throughput.read(rows)


def _sum(counts: Sequence[run_counts.Count]) -> run_counts.Count:
    number = sum(count.number for count in counts)
    return run_counts.Count(
        min(number, workers_and_queues.MOST), is_more=number > workers_and_queues.MOST or any(c.is_more for c in counts)
    )


def _condition(visible: Sequence[int] | None, times: int) -> tuple[str, list[Any]]:
    if visible is None:
        return "true", []
    return "flow_id = ANY(%s::bigint[])", [list(visible)] * times


def _running(flows: Sequence[FlowDefinition], visible: Sequence[int] | None) -> list[Progress]:
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
    )
    by_key = {flow.pk: flow for flow in flows}
    found = []
    for row in db.rows(sql, params):
        run_id, flow_id, title, started_at, begun_at, total, done, is_more, failed, steps, at, unserved, spec = row
        count = _steps_of(spec)
        whole = max(total + count - steps, done) if count is not None else 0
        if flow_id in by_key:
            flow = by_key[flow_id]
            found.append(
                Progress(run_id, flow, title, started_at, begun_at, done, is_more, whole, failed, at, unserved)
            )
    return found


def _steps_of(text: str | None) -> int | None:
    """Return how many steps a version has; None for one with loops, and for one that this release cannot read."""
    try:
        spec = FlowSpec.from_dict(json.loads(text or ""))
        return None if spec.has_loops else len(spec.steps)
    except (KeyError, TypeError, ValueError):
        return None


def _latest(flows: Sequence[FlowDefinition], visible: Sequence[int] | None) -> tuple[list[Ended], list[Ended]]:
    """Return the latest failures, and the runs that ended last."""
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
