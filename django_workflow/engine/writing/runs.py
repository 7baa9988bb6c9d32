"""The rows of runs: no other module writes a run's status. What follows from any end of a run is `after_end`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.engine.reporting.report import Telling
from django_workflow.engine.routing.facts import Decision, Error, error_of
from django_workflow.engine.stored import versions
from django_workflow.engine.stored.locking import LockedRun
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.engine.writing import cancel_open, partial_output
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.statuses import CANCELLED, FAILED, RUN_TERMINAL, RUNNING, SCHEDULED, SUCCEEDED

#: The row of a run to be; JSON as text. delay, at: when a scheduled run begins.
NEW_RUNS = db.Columns(
    "u", id="uuid", status="text", is_local="bool", open_steps="int", task_count="int", input="text",
    error="text", key="text", labels="text", title="text", by="text", variables="bigint", output="text",
    delay="float8", at="timestamptz",
)  # fmt: skip
# Whoever inserts second waits for the first one's end and then finds its run below. A version that this process
# remembers and the database does not have (it was restored or emptied) is null here, which is refused.
INSERT_RUNS = f"""
    INSERT INTO django_workflow_run
        (id, flow_id, version_id, status, is_local, open_steps, task_count, input, error, idempotency_key, labels,
         title, started_by, variables_id, output, created_at, due_at, deadline_at, started_at, ended_at)
    SELECT n.id, %s, (SELECT id FROM django_workflow_flowversion WHERE id = %s::bigint), n.status, n.is_local,
           n.open_steps, n.task_count, n.input::jsonb, n.error::jsonb, n.key,
           n.labels::jsonb, n.title, n.by, n.variables, n.output::jsonb,
           n.now, n.due_at, greatest(n.due_at, n.now) + make_interval(secs => %s::float8),
           CASE WHEN n.status <> 'scheduled' THEN n.now END,
           CASE WHEN n.status NOT IN ('scheduled', 'running') THEN n.now END
    FROM (
        SELECT *, CASE WHEN at IS NOT NULL THEN at
                       WHEN delay IS NOT NULL THEN now + make_interval(secs => delay) END AS due_at
        FROM (SELECT statement_timestamp() AS now) clock, {NEW_RUNS.numbered}
    ) n
    ORDER BY n.key, n.place
    ON CONFLICT DO NOTHING
"""


def insert(rows: Sequence[tuple[Any, ...]], *, flow_id: int, version_id: int, duration: float) -> None:
    """Insert runs of one version with fresh ids, which cannot be refused; duration: seconds until their deadline."""
    db.add(INSERT_RUNS, [flow_id, version_id, duration, *NEW_RUNS.params(rows)])


def insert_missing(rows: Sequence[tuple[Any, ...]], *, flow_id: int, version_id: int, duration: float) -> set[UUID]:
    """Insert runs as `insert` does, but for those whose idempotency key or chosen id is in use; return the others."""
    params = [flow_id, version_id, duration, *NEW_RUNS.params(rows)]
    return {run_id for (run_id,) in db.rows(INSERT_RUNS + " RETURNING id", params)}


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


def insert_retry(
    old_id: UUID, run: LockedRun, *, duration: float, input: str | None, error: Error | None, by: str, output: Any
) -> None:
    """Insert the run that retries a settled one, with its labels and title.

    duration: seconds until its deadline. input: JSON text; None is the old run's.
    """
    db.add(INSERT_RETRY, [
        run.id, run.version_id, run.status, run.open_steps, run.task_count, input,
        json.dumps(error) if error else None, by, run.variables_id,
        None if output is None else json.dumps(output), duration, run.status, old_id,
    ])  # fmt: skip


BEGIN_IF_SCHEDULED = """
    UPDATE django_workflow_run SET status = 'running', started_at = clock_timestamp()
    WHERE id = ANY(%s::uuid[]) AND status = 'scheduled' RETURNING id, input
"""


def begin(runs: Sequence[LockedRun]) -> dict[UUID, str | None]:
    """Let scheduled runs begin whose locks the caller holds; return their inputs as JSON text."""
    for run in runs:
        run.status = RUNNING
    return dict(db.rows(BEGIN_IF_SCHEDULED, [[run.id for run in runs]])) if runs else {}


SET_PAUSED = """
    UPDATE django_workflow_run SET status = 'paused', paused_at = clock_timestamp(), is_paused_with_flow = %s::bool
    WHERE id = ANY(%s::uuid[])
"""
SET_RESUMED = """
    UPDATE django_workflow_run
    SET status = CASE WHEN started_at IS NULL THEN 'scheduled' ELSE 'running' END,
        deadline_at = deadline_at + (clock_timestamp() - paused_at), is_paused_with_flow = false,
        paused_seconds = paused_seconds + CASE WHEN started_at IS NULL THEN 0
                                               ELSE extract(epoch FROM clock_timestamp() - paused_at) END,
        paused_at = NULL
    WHERE id = ANY(%s::uuid[])
"""


def pause(run_ids: Sequence[UUID], *, with_flow: bool) -> None:
    """Stop the clock of runs whose locks the caller holds; their tasks are held apart from this."""
    db.execute(SET_PAUSED, [with_flow, list(run_ids)])


def resume(run_ids: Sequence[UUID]) -> None:
    """Let the clock of paused runs go on, after all that asks for the time of the pause."""
    db.execute(SET_RESUMED, [list(run_ids)])


#: What a run's row becomes by a decision or an end; JSON as text. Without an error that of before stays.
CHANGED_RUNS = db.Columns(
    "n", id="uuid", status="text", open_steps="int", task_count="int", error="text", variables="bigint", output="text"
)
UPDATE_RUNS = f"""
    UPDATE django_workflow_run r
    SET status = n.status, open_steps = n.open_steps, task_count = n.task_count,
        error = coalesce(n.error::jsonb, r.error), variables_id = n.variables, output = n.output::jsonb,
        ended_at = CASE WHEN n.status IN ('succeeded', 'failed', 'cancelled', 'timed_out')
                        THEN statement_timestamp() END
    FROM {CHANGED_RUNS}
    WHERE r.id = n.id
"""


def row_of(run: LockedRun, decision: Decision) -> tuple[Any, ...]:
    """Return what a decision makes of a run's row, for `update`."""
    is_over = decision.status is not None
    error = decision.error if is_over else decision.failing
    output = None
    if decision.output is not None:
        output = payload.dumps(decision.output, what="The output of the run", limit=conf.MAX_OUTPUT_BYTES)
    return CHANGED_RUNS.row(
        id=run.id, status=decision.status or run.status, open_steps=0 if is_over else decision.open_steps,
        task_count=decision.task_count, error=json.dumps(error) if error else None,
        variables=decision.final_variables, output=output,
    )  # fmt: skip


def update(rows: Sequence[tuple[Any, ...]]) -> None:
    """Write the rows of unsettled runs whose locks the caller holds, those that end included."""
    if rows:
        db.add(UPDATE_RUNS, CHANGED_RUNS.params(rows))


@dataclass(slots=True)
class RunEnd:
    """The end of a run whose row is written."""

    run: LockedRun
    status: str
    #: What its event says.
    data: dict[str, Any] | None
    #: Whether rows of it may still be open.
    leaves_open: bool = True


def after_end(ends: Sequence[RunEnd], events: EventLog, telling: Telling) -> set[UUID]:
    """Make true what follows from the end of runs, whoever ended them; return those in which a handler was running.

    events, telling: the caller writes them, and tells after its commit. It holds the runs' locks.
    """
    for end in ends:
        kind = "completed" if end.status == SUCCEEDED else end.status
        events.run(end.run.id, f"run.{kind}", end.data)
        telling.ends(end.run.id, end.status)
    return cancel_open.close_runs({end.run.id: end.status for end in ends if end.leaves_open})


def end(runs: Sequence[LockedRun], status: str, *, reason: str, by: str = "") -> set[UUID]:
    """End unsettled runs from outside whose locks the caller holds; return those in which a handler was running."""
    author = {"by": by} if by else {}
    error = {"step": "", "class": status, "message": reason} | author
    return _end(runs, status, error, {"reason": reason} | author, outputs=partial_output.outputs(runs))


def fail(run: LockedRun, error: Exception) -> set[UUID]:
    """End a run whose lock the caller holds as failed, for what follows in it cannot be written; return as `end` does.

    A run that has settled stays as it is.
    """
    if run.status in RUN_TERMINAL:
        return set()
    record = ErrorRecord.of(error)
    failure = error_of("", record.error_class, record.message)
    return _end([run], FAILED, failure, failure, exception=error)


def _end(
    runs: Sequence[LockedRun],
    status: str,
    error: Error,
    data: dict[str, Any],
    *,
    outputs: Mapping[UUID, str] | None = None,
    exception: Exception | None = None,
) -> set[UUID]:
    if status != CANCELLED:
        begin([run for run in runs if run.status == SCHEDULED])  # no run fails or times out before it began
    written, outputs = json.dumps(error), outputs or {}
    update([
        CHANGED_RUNS.row(
            id=run.id, status=status, open_steps=0, task_count=run.task_count, error=written,
            variables=run.variables_id, output=outputs.get(run.id),
        )
        for run in runs
    ])  # fmt: skip
    events, telling = EventLog(), Telling()
    running = after_end([RunEnd(run, status, data) for run in runs], events, telling)
    events.write()
    if status != CANCELLED:
        for run in runs:
            telling.fails(run.id, versions.slug_of(run.version_id), status, error, exception)
    telling.after_commit()
    return running
