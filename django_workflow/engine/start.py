"""Starting runs: `start` inserts them, many at once, in the caller's transaction; `begin_due` begins scheduled ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine import publish
from django_workflow.engine.advance import Advance, LockedRun
from django_workflow.engine.outputs import RunOutputs
from django_workflow.engine.routing import RunFacts, decide
from django_workflow.engine.settle import notifications
from django_workflow.ids import uuid7
from django_workflow.statuses import RUNNING, SCHEDULED


@dataclass(slots=True)
class StartRequest:
    """One run to be started.

    input: any JSON value. run_id: chosen by the caller. delay: seconds; at: a time; at most one of them.
    """

    input: Any = None
    idempotency_key: str | None = None
    run_id: UUID | None = None
    delay: float | None = None
    at: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    by: str = ""
    is_local: bool = False


# whoever inserts second waits for the first one's end and then finds its run below
INSERT_RUNS = """
    INSERT INTO django_workflow_run
        (id, flow_id, version_id, status, is_local, input, idempotency_key, labels, title, started_by,
         due_at, deadline_at, started_at)
    SELECT n.id, %s, %s, n.status, n.is_local, n.input::jsonb, n.key, n.labels::jsonb, n.title, n.by,
           n.due_at, coalesce(n.due_at, clock_timestamp()) + make_interval(secs => %s::float8),
           CASE WHEN n.status = 'running' THEN clock_timestamp() END
    FROM (
        SELECT *, CASE WHEN at IS NOT NULL THEN at
                       WHEN delay IS NOT NULL THEN clock_timestamp() + make_interval(secs => delay) END AS due_at
        FROM unnest(%s::uuid[], %s::text[], %s::bool[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                    %s::float8[], %s::timestamptz[])
             AS u(id, status, is_local, input, key, labels, title, by, delay, at)
    ) n
    ON CONFLICT DO NOTHING
    RETURNING id
"""
FIND_EXISTING = """
    SELECT w.place, r.id FROM unnest(%s::int[], %s::text[], %s::uuid[]) AS w(place, key, id)
    JOIN django_workflow_run r ON r.id = w.id OR (r.flow_id = %s AND r.idempotency_key = w.key)
"""


def start(spec: FlowSpec, requests: Sequence[StartRequest]) -> list[UUID]:
    """Insert runs and activate their entry steps, in the caller's transaction: no commit, no run.

    spec: the definition they are pinned to; it is published first where it is new.
    Returns the runs' ids in the order of the requests; where the idempotency key or the run id was
    used before, the existing run's id.
    Raises `PayloadError` for an input that is not JSON or too large; then no run is made.
    """
    if not requests:
        return []
    flow_id, version_id = publish.version_of(spec)
    publish.ensure_queues(publish.queues_of(spec))
    rows = [_row(spec, request) for request in requests]
    ids: list[UUID] = [row[0] for row in rows]
    advance = Advance()
    with db.atomic():
        duration = spec.max_duration or conf.MAX_DURATION.total_seconds()
        columns = [list(column) for column in zip(*rows, strict=True)]
        made = {row[0] for row in db.rows(INSERT_RUNS, [flow_id, version_id, duration, *columns])}
        if len(made) < len(requests):
            ids = _existing(ids, made, requests, flow_id)
        seen: set[UUID] = set()
        for run_id, request, row in zip(ids, requests, rows, strict=True):
            if run_id != row[0] or run_id not in made or run_id in seen:
                continue
            seen.add(run_id)
            run = LockedRun(run_id, row[1], version_id, 0, 0, request.is_local)
            data = {"by": request.by} if request.by else None
            if run.status == RUNNING:
                advance.events.run(run_id, "run.started", data)
                _activate_entry(advance, run, spec, request.input)
            else:
                advance.events.run(run_id, "run.scheduled", data)
        advance.write()
    _notify_after_commit(advance, made)
    return ids


def _row(spec: FlowSpec, request: StartRequest) -> tuple[Any, ...]:
    is_later = request.delay is not None or request.at is not None
    return (
        request.run_id or uuid7(),
        SCHEDULED if is_later else RUNNING,
        request.is_local,
        payload.dump_input(request.input, flow=spec.slug),
        request.idempotency_key,
        json.dumps(dict(request.labels)),
        request.title[:200],
        request.by[:150],
        request.delay,
        request.at,
    )


def _existing(ids: list[UUID], made: set[UUID], requests: Sequence[StartRequest], flow_id: int) -> list[UUID]:
    """Replace the ids of refused inserts by those of the runs that were there before."""
    refused = [place for place, run_id in enumerate(ids) if run_id not in made]
    keys = [requests[place].idempotency_key for place in refused]
    run_ids = [requests[place].run_id for place in refused]
    found = dict(db.rows(FIND_EXISTING, [refused, keys, run_ids, flow_id]))
    return [found.get(place, run_id) for place, run_id in enumerate(ids)]


def _activate_entry(advance: Advance, run: LockedRun, spec: FlowSpec, run_input: Any) -> None:
    facts = RunFacts(
        input=run_input, outputs=RunOutputs(run.id, spec), max_tasks=spec.max_tasks or conf.MAX_TASKS
    )
    advance.add(run, spec, facts, decide(spec, facts, is_start=True))


def _notify_after_commit(advance: Advance, runs: set[UUID]) -> None:
    # the runs' own notification is left to their first change: nobody can watch what was not there
    messages = notifications(queues=advance.queues)
    if messages:
        db.after_commit(lambda: db.notify(messages))


LOCK_DUE_RUNS = """
    SELECT id, status, version_id, open_steps, task_count, is_local FROM django_workflow_run
    WHERE status = 'scheduled' AND due_at <= clock_timestamp()
    ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
"""
BEGIN_RUNS = """
    UPDATE django_workflow_run SET status = 'running', started_at = clock_timestamp()
    WHERE id = ANY(%s::uuid[]) RETURNING id, input
"""


def begin_due(limit: int = 500) -> int:
    """Begin scheduled runs whose time has come; returns how many."""
    advance = Advance()
    with db.atomic():
        runs = [LockedRun(*row) for row in db.rows(LOCK_DUE_RUNS, [limit])]
        if not runs:
            return 0
        inputs = dict(db.rows(BEGIN_RUNS, [[run.id for run in runs]]))
        for run in runs:
            run.status = RUNNING
            advance.events.run(run.id, "run.started")
            _activate_entry(advance, run, publish.spec_of(run.version_id), payload.loads(inputs[run.id]))
        advance.write()
    db.notify(notifications(queues=advance.queues, runs=[run.id for run in runs]))
    return len(runs)
