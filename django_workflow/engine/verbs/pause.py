"""Holding and going on: `pause` and `resume` of runs, of whole flows, and of queues.

A paused run's clock stands still: queued tasks are held, a remaining delay is kept, and the time does not count
towards its deadline. What runs, runs to its end; successors are held.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django_workflow import db, queue, text
from django_workflow.definition.names import is_name, is_queue_name
from django_workflow.engine.stored.locking import lock_patiently, lock_runs, lock_unsettled, waiting_patiently
from django_workflow.engine.writing import runs, tasks
from django_workflow.engine.writing.event_log import EventLog
from django_workflow.engine.writing.tasks import HeldTask
from django_workflow.exceptions import NotSupported, UnknownFlow, UnknownQueue
from django_workflow.notifications import control_of_queue, notifications
from django_workflow.statuses import PAUSED, RUN_TERMINAL

logger = logging.getLogger("django_workflow")

#: Runs paused with one statement.
CHUNK = 5_000

RUNS_AT_WORK = """
    SELECT DISTINCT s.run_id FROM django_workflow_steprun s JOIN django_workflow_task t ON t.step_run_id = s.id
    WHERE s.run_id = ANY(%s::uuid[]) AND s.status = 'running' AND t.status = 'running'
"""


def pause(run_ids: Sequence[UUID], *, reason: str = "", by: str = "") -> None:
    """Hold runs: once this has committed no task of theirs is claimed; handlers that run finish.

    reason, by: recorded with the event. A run that is paused already is left as it is.
    Raises `RunNotFound`, `AlreadySettled`, and `NotSupported` for a run that is executed in its caller's process;
    then none is changed.
    """
    reason, by = text.remarks(reason, by)
    with db.atomic():
        locked = lock_unsettled(run_ids)
        for run_id in run_ids:
            if locked[run_id].is_local:
                raise NotSupported(f"Run {run_id} is executed in its caller's process; it cannot be paused.")
        _hold([run_id for run_id, run in locked.items() if run.status != PAUSED], reason, by)


def _hold(run_ids: list[UUID], reason: str, by: str, *, with_flow: bool = False) -> None:
    """Pause runs whose locks the caller holds."""
    if not run_ids:
        return
    runs.pause(run_ids, with_flow=with_flow)
    tasks.hold_queued(run_ids)
    _record(run_ids, "run.paused", reason, by)
    # their workers hand back what has not begun
    at_work = [row[0] for row in db.rows(RUNS_AT_WORK, [run_ids])]
    db.notify_after_commit(notifications(runs=run_ids, cancelled=at_work))


IN_PAUSED_FLOW = """
    SELECT f.slug FROM django_workflow_run r JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
    WHERE r.id = ANY(%s::uuid[]) AND r.status = 'paused' AND f.paused_at IS NOT NULL LIMIT 1
"""
GOES_ON = db.select(
    HeldTask,
    id="t.id",
    queue="t.queue",
    delay="coalesce(greatest(extract(epoch FROM t.due_at - r.paused_at), 0), 0)::float8",
)
HELD_BY_PAUSE = f"""
    SELECT {GOES_ON}
    FROM django_workflow_run r
    JOIN django_workflow_steprun s ON s.run_id = r.id AND s.status = 'running'
    JOIN django_workflow_task t ON t.step_run_id = s.id
    WHERE r.id = ANY(%s::uuid[]) AND t.status = 'held' AND t.hold_reason = 'paused'
    ORDER BY t.id FOR NO KEY UPDATE OF t
"""
# an arrival on its way keeps the delay that remained
MOVE_ARRIVALS = """
    UPDATE django_workflow_arrival a
    SET due_at = clock_timestamp() + greatest(a.due_at - r.paused_at, make_interval())
    FROM django_workflow_run r
    WHERE r.id = a.run_id AND a.run_id = ANY(%s::uuid[]) AND a.generation IS NULL
"""


def resume(run_ids: Sequence[UUID], *, reason: str = "", by: str = "") -> None:
    """Let paused runs go on: what their pause held is queued, with the delay that remained.

    A run that is not paused is left as it is. Raises `RunNotFound`, `AlreadySettled`, and `NotSupported` for a run
    whose flow is paused; then none is changed.
    """
    reason, by = text.remarks(reason, by)
    with db.atomic():
        locked = lock_unsettled(run_ids)
        if found := db.rows(IN_PAUSED_FLOW, [list(run_ids)]):
            raise NotSupported(f"The flow {found[0][0]!r} is paused, and with it its runs; resume the flow.")
        _release([run_id for run_id, run in locked.items() if run.status == PAUSED], reason, by)


def _release(run_ids: list[UUID], reason: str, by: str) -> None:
    """Resume runs whose locks the caller holds."""
    if not run_ids:
        return
    queues = tasks.queue_held([HeldTask(*row) for row in db.rows(HELD_BY_PAUSE, [run_ids])])
    db.execute(MOVE_ARRIVALS, [run_ids])
    runs.resume(run_ids)
    _record(run_ids, "run.resumed", reason, by)
    db.notify_after_commit(notifications(queues=queues, runs=run_ids))


def _record(run_ids: Sequence[UUID], kind: str, reason: str, by: str) -> None:
    events = EventLog()
    for run_id in run_ids:
        events.run(run_id, kind, {key: value for key, value in (("reason", reason), ("by", by)) if value})
    events.write()


LOCK_FLOW = "SELECT id, paused_at IS NOT NULL FROM django_workflow_flowdefinition WHERE slug = %s FOR NO KEY UPDATE"
PAUSE_FLOW = """
    UPDATE django_workflow_flowdefinition SET paused_at = clock_timestamp(), paused_by = %s, pause_reason = %s
    WHERE id = %s AND paused_at IS NULL
"""
RESUME_FLOW = """
    UPDATE django_workflow_flowdefinition SET paused_at = NULL, paused_by = '', pause_reason = '' WHERE id = %s
"""
RUNS_TO_PAUSE = """
    SELECT r.id, f.id
    FROM django_workflow_flowdefinition f JOIN django_workflow_run r ON r.flow_id = f.id
    WHERE f.paused_at IS NOT NULL AND r.status IN ('scheduled', 'running') AND NOT r.is_local
    ORDER BY r.id LIMIT %s
"""
# own statement, before the runs are locked: a resume waits here for the runs that it would not see as paused yet.
# What a resume holds is skipped: it is paused no more. The order is that in which versions are published
LOCK_PAUSED_FLOWS = """
    SELECT id, pause_reason, paused_by FROM django_workflow_flowdefinition
    WHERE id = ANY(%s::bigint[]) AND paused_at IS NOT NULL ORDER BY slug FOR SHARE SKIP LOCKED
"""
RUNS_PAUSED_WITH_FLOW = """
    SELECT id FROM django_workflow_run WHERE flow_id = %s AND status = 'paused' AND is_paused_with_flow ORDER BY id
"""


def pause_flow(slug: str, *, reason: str = "", by: str = "") -> None:
    """Hold all runs of a flow, those that are started later included, until `resume_flow`.

    Once this has committed no task of the flow is claimed. Runs that somebody holds now, and those that are
    started into the paused flow, are marked by the keeper. Raises `UnknownFlow`, and `RunBusy` where another
    transaction holds the flow for too long.
    """
    reason, by = text.remarks(reason, by)
    with db.atomic():
        db.execute(PAUSE_FLOW, [by, reason, _lock_flow(slug)])
    while pause_with_flow():
        pass


def pause_with_flow() -> int:
    """Pause runs that go on although their flow is paused, as whoever paused it said; returns how many.

    The keeper does this, too, and there may be several such flows.
    """
    with db.atomic():
        found: dict[UUID, int] = dict(db.rows(RUNS_TO_PAUSE, [CHUNK]))
        if not found:
            return 0
        flows = {key: (reason, by) for key, reason, by in db.rows(LOCK_PAUSED_FLOWS, [sorted(set(found.values()))])}
        why = {run_id: flows[flow_id] for run_id, flow_id in found.items() if flow_id in flows}
        live: dict[tuple[str, str], list[UUID]] = defaultdict(list)
        for run_id, run in lock_runs(why).items():
            if run.status not in (*RUN_TERMINAL, PAUSED):
                live[why[run_id]].append(run_id)
        for (reason, by), run_ids in live.items():
            _hold(run_ids, reason or "its flow is paused", by, with_flow=True)
    return sum(map(len, live.values()))


def resume_flow(slug: str, *, reason: str = "", by: str = "") -> None:
    """Let a paused flow go on, and the runs that were paused with it; those paused by themselves stay so."""
    reason, by = text.remarks(reason, by)
    with db.atomic():
        flow_id = _lock_flow(slug)
        db.execute(RESUME_FLOW, [flow_id])
        locked = lock_patiently([row[0] for row in db.rows(RUNS_PAUSED_WITH_FLOW, [flow_id])])
        _release([run_id for run_id, run in locked.items() if run.status == PAUSED], reason, by)


def _lock_flow(slug: str) -> int:
    found = []
    if is_name(slug):
        with waiting_patiently(f"the flow {slug!r}"):
            found = db.rows(LOCK_FLOW, [slug])
    if not found:
        raise UnknownFlow(f"No flow {text.shown(slug)} is stored in this database.")
    flow_id: int = found[0][0]
    return flow_id


PAUSE_QUEUE = """
    UPDATE django_workflow_queue SET paused_at = coalesce(paused_at, clock_timestamp()),
        paused_by = CASE WHEN paused_at IS NULL THEN %s::text ELSE paused_by END,
        pause_reason = CASE WHEN paused_at IS NULL THEN %s::text ELSE pause_reason END
    WHERE name = %s RETURNING name
"""
RESUME_QUEUE = """
    UPDATE django_workflow_queue SET paused_at = NULL, paused_by = '', pause_reason = '' WHERE name = %s RETURNING name
"""


def pause_queue(name: str, *, reason: str = "", by: str = "") -> None:
    """Let no worker take tasks of a queue until `resume_queue`; they stay queued, and waiting costs nothing.

    Raises `UnknownQueue`, and `RunBusy` where another transaction holds the queue for too long.
    """
    reason, by = text.remarks(reason, by)
    name = _change_queue(PAUSE_QUEUE, [by, reason], name)
    _tell("queue %s paused by %s: %s", name, by, reason)
    db.notify_after_commit([control_of_queue(name)])


def resume_queue(name: str, *, reason: str = "", by: str = "") -> None:
    """Let workers take tasks of a paused queue again; raises `UnknownQueue`. Who and why is logged."""
    reason, by = text.remarks(reason, by)
    name = _change_queue(RESUME_QUEUE, [], name)
    _tell("queue %s resumed by %s: %s", name, by, reason)
    db.notify_after_commit(notifications(queues=[name]))


PAUSED_QUEUES = "SELECT name FROM django_workflow_queue WHERE paused_at IS NOT NULL"


def paused_queues() -> set[str]:
    """Return the names of the queues that are paused."""
    return {row[0] for row in db.rows(PAUSED_QUEUES)}


def _change_queue(sql: str, params: Sequence[Any], name: str) -> str:
    """Change a queue's row and return its name; raises `UnknownQueue`."""
    found = []
    if is_queue_name(name):
        with db.atomic(), waiting_patiently(f"the queue {name!r}"):
            found = db.rows(sql, [*params, name])
    if not found:
        known = ", ".join(queue.existing()) or "none yet"
        raise UnknownQueue(f"There is no queue {text.shown(name)}; known: {known}.")
    changed: str = found[0][0]
    return changed


def _tell(message: str, name: str, by: str, reason: str) -> None:
    """Log what was done; in one line each, whatever somebody gave as the reason."""
    logger.info(message, name, text.in_one_line(by) or "somebody", text.in_one_line(reason) or "no reason given")
