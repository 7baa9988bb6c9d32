"""The rows of tasks: no other module inserts tasks, or makes one queued, with its message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django_workflow import db, queue
from django_workflow.conf import conf
from django_workflow.engine.tasks.admission import waits_in_message
from django_workflow.engine.tasks.handoff import Taker
from django_workflow.statuses import QUEUED, RUNNING

TASK_TABLE = "django_workflow_task"
#: Tasks written with one statement.
CHUNK = 1_000

T = TypeVar("T")


@dataclass(slots=True)
class NewTask:
    """A task to be inserted."""

    id: int
    run_id: UUID
    step_run_id: int
    index: int
    queue: str
    status: str
    hold_reason: str
    #: JSON text; of a copy the id of the step run whose task of this index has it.
    item: str | None
    #: Seconds until it is due.
    delay: float = 0.0
    is_local: bool = False


@dataclass(slots=True)
class Queued:
    """What workers can claim once the transaction has committed."""

    #: Queues that received messages.
    queues: set[str] = field(default_factory=set)
    #: Seconds until messages become visible that are hidden now.
    delays: list[float] = field(default_factory=list)
    #: Tasks of local runs.
    local: list[int] = field(default_factory=list)


NEW_TASKS = db.Columns(
    "n", id="bigint", run_id="uuid", step_run_id="bigint", index="int", status="text", hold_reason="text", queue="text",
    item="text", delay="float8",
)  # fmt: skip
INSERT_TASKS = f"""
    INSERT INTO django_workflow_task (id, run_id, step_run_id, index, status, hold_reason, queue, item, due_at)
    SELECT n.id, n.run_id, n.step_run_id, n.index, n.status, n.hold_reason, n.queue, n.item::jsonb,
           CASE WHEN n.delay > 0 THEN
               CASE WHEN n.status = 'held' THEN
                        coalesce((SELECT paused_at FROM django_workflow_run WHERE id = n.run_id), clock_timestamp())
                    ELSE clock_timestamp() END + make_interval(secs => n.delay) END
    FROM {NEW_TASKS}
"""
INSERT_SENT_TASKS = f"""
    INSERT INTO django_workflow_task
        (id, run_id, step_run_id, index, status, hold_reason, queue, item, due_at, message_id)
    SELECT n.id, n.run_id, n.step_run_id, n.index, n.status, n.hold_reason, n.queue, n.item::jsonb,
           CASE WHEN n.delay > 0 THEN clock_timestamp() + make_interval(secs => n.delay) END, {queue.MESSAGE_AT_PLACE}
    FROM {NEW_TASKS.numbered}
"""
INSERT_TAKEN_TASKS = f"""
    INSERT INTO django_workflow_task
        (lease_id, worker_id, attempt, created_at, begun_at, id, run_id, step_run_id, index, status, hold_reason, queue,
         item, message_id)
    SELECT %s::bigint, %s::bigint, 1, statement_timestamp(), clock_timestamp(),
           n.id, n.run_id, n.step_run_id, n.index, n.status, n.hold_reason, n.queue, n.item::jsonb,
           {queue.MESSAGE_AT_PLACE}
    FROM {NEW_TASKS.numbered}
"""
# items may be large: the database copies them
ITEM_OF_COPY = "(SELECT item FROM django_workflow_task WHERE step_run_id = n.item::bigint AND index = n.index)"
COPY_TASKS = INSERT_TASKS.replace("n.item::jsonb", ITEM_OF_COPY)
COPY_SENT_TASKS = INSERT_SENT_TASKS.replace("n.item::jsonb", ITEM_OF_COPY)


def insert(tasks: Sequence[NewTask], queued: Queued, *, taker: Taker | None = None, are_copies: bool = False) -> None:
    """Insert tasks, with the messages by which workers find them.

    queued: learns what can be claimed. taker: the worker that has taken those that run.
    """
    silent: list[NewTask] = []
    sent: dict[tuple[str, float], list[NewTask]] = defaultdict(list)
    taken: dict[str, list[NewTask]] = defaultdict(list)
    for task in tasks:
        if task.status == RUNNING:
            taken[task.queue].append(task)
        elif task.status == QUEUED and waits_in_message(task.delay, is_local=task.is_local):
            sent[task.queue, task.delay].append(task)
        else:
            silent.append(task)
            if task.status == QUEUED and task.is_local:
                queued.local.append(task.id)
    queued.queues.update(name for name, _ in sent)
    queued.delays += [delay for _, delay in sent if delay > 0]
    for (name, delay), group in sent.items():
        for chunk in _chunks(group):
            ids = [task.id for task in chunk]
            sql = COPY_SENT_TASKS if are_copies else INSERT_SENT_TASKS
            db.add(*queue.sending(sql, NEW_TASKS.of(chunk), name, ids, delay))
    for name, group in taken.items():
        assert taker is not None
        params = [taker.lease_id, taker.worker_id, *NEW_TASKS.of(group)]
        ids = [task.id for task in group]
        db.add(*queue.sending(INSERT_TAKEN_TASKS, params, name, ids, taker.lease))
    for chunk in _chunks(silent):
        db.add(COPY_TASKS if are_copies else INSERT_TASKS, NEW_TASKS.of(chunk))


INSERT_GIVEN = """
    INSERT INTO django_workflow_task
        (run_id, step_run_id, index, status, origin, queue, output, created_at, begun_at, ended_at)
    SELECT %s::uuid, %s::bigint, %s::int, 'succeeded', 'override', %s::text, %s::jsonb, t.now, t.now, t.now
    FROM statement_timestamp() AS t(now)
"""


def insert_given(run_id: UUID, step_run_id: int, index: int, queue_name: str, output: str) -> None:
    """Insert the task that holds an output, as JSON text, that an operator gave."""
    db.add(INSERT_GIVEN, [run_id, step_run_id, index, queue_name, output])


CARRIED = db.Columns("c", id="bigint", old_id="bigint")
CARRY_TASKS = f"""
    INSERT INTO django_workflow_task
        (run_id, step_run_id, index, status, origin, queue, attempt, failure_count, lost_count, progress, item, output,
         begun_at, ended_at)
    SELECT %s::uuid, c.id, t.index, t.status, 'carried', t.queue, t.attempt, t.failure_count, t.lost_count, t.progress,
           t.item, t.output, t.begun_at, t.ended_at
    FROM {CARRIED} JOIN django_workflow_task t ON t.step_run_id = c.old_id
"""
CARRY_RESULTS = CARRY_TASKS + " WHERE t.index >= 0 AND t.status IN ('succeeded', 'skipped')"


def carry(run_id: UUID, step_runs: Sequence[tuple[int, int]], *, only_results: bool = False) -> None:
    """Copy ended tasks into a run that retries theirs; step_runs: pairs of the new and the old one.

    only_results: of a map step that is retried in part, the items that have a result.
    """
    if step_runs:
        db.add(CARRY_RESULTS if only_results else CARRY_TASKS, [run_id, *CARRIED.params(step_runs)])


class HeldTask(NamedTuple):
    """A held task that may go on."""

    id: int
    queue: str
    #: Seconds until it is due.
    delay: float = 0.0
    is_local: bool = False


QUEUED_TASKS = db.Columns("n", id="bigint", delay="float8")
QUEUE_SENT = f"""
    UPDATE django_workflow_task t
    SET status = 'queued', hold_reason = '', message_id = {queue.MESSAGE_AT_PLACE},
        due_at = CASE WHEN n.delay > 0 THEN clock_timestamp() + make_interval(secs => n.delay) END
    FROM {QUEUED_TASKS.numbered}
    WHERE t.id = n.id AND t.status = 'held'
"""
QUEUE_SILENT = f"""
    UPDATE django_workflow_task t
    SET status = 'queued', hold_reason = '',
        due_at = CASE WHEN n.delay > 0 THEN clock_timestamp() + make_interval(secs => n.delay) END
    FROM {QUEUED_TASKS} WHERE t.id = n.id AND t.status = 'held'
"""


def queue_held(tasks: Sequence[HeldTask]) -> set[str]:
    """Queue held tasks; return the queues that received messages. The caller holds their runs' locks."""
    silent: list[HeldTask] = []
    sent: dict[tuple[str, bool], list[HeldTask]] = defaultdict(list)
    for task in tasks:
        if waits_in_message(task.delay, is_local=task.is_local):
            sent[task.queue, task.delay > 0].append(task)
        else:
            silent.append(task)
    for (name, is_delayed), group in sent.items():
        for chunk in _chunks(group):
            ids, params = [task.id for task in chunk], QUEUED_TASKS.of(chunk)
            if is_delayed:
                returning = QUEUE_SENT + " RETURNING t.message_id, n.delay"
                hidden = db.rows(*queue.sending(returning, params, name, ids, conf.LEASE.total_seconds()))
                queue.hide(name, [message for message, _ in hidden], [delay for _, delay in hidden])
            else:
                db.add(*queue.sending(QUEUE_SENT, params, name, ids))
    for chunk in _chunks(silent):
        db.add(QUEUE_SILENT, QUEUED_TASKS.of(chunk))
    return {name for name, _ in sent}


HOLD_QUEUED_TASKS = """
    WITH waiting AS MATERIALIZED (
        SELECT t.id, t.message_id FROM django_workflow_steprun s JOIN django_workflow_task t ON t.step_run_id = s.id
        WHERE s.run_id = ANY(%s::uuid[]) AND s.status = 'running' AND t.status = 'queued'
        ORDER BY t.id FOR NO KEY UPDATE OF t
    )
    UPDATE django_workflow_task t SET status = 'held', hold_reason = 'paused', message_id = NULL
    FROM waiting WHERE t.id = waiting.id
    RETURNING t.queue, waiting.message_id
"""
HOLD_ON = """
    UPDATE django_workflow_task SET hold_reason = 'paused' WHERE id = ANY(%s::bigint[]) AND status = 'held'
"""


def hold_queued(run_ids: Sequence[UUID]) -> None:
    """Hold the queued tasks of runs that are paused, and delete their messages."""
    queue.delete_all((name, message) for name, message in db.rows(HOLD_QUEUED_TASKS, [list(run_ids)]))


def hold_on(task_ids: Sequence[int]) -> None:
    """Hold tasks that were held for another reason because their run is paused."""
    if task_ids:
        db.add(HOLD_ON, [list(task_ids)])


#: An attempt after which its task waits again, or goes on under its lease. delay: seconds until it is due.
REQUEUED = db.Columns(
    "e", id="bigint", lease_id="bigint", status="text", hold_reason="text", failure_count="int", lost_count="int",
    delay="float8", keeps_message="bool", keeps_lease="bool",
)  # fmt: skip
# a paused run's clock stands still: a delay that begins meanwhile counts from the pause on. The lock comes first so
# that the message is told which the row had: it may be taken from it here, and only the row knows the latest
REQUEUE_IF_LEASED = f"""
    WITH again AS MATERIALIZED (
        SELECT t.message_id, e.*
        FROM {REQUEUED}
        JOIN django_workflow_task t ON t.id = e.id AND t.lease_id = e.lease_id AND t.status = 'running'
        ORDER BY t.id FOR NO KEY UPDATE OF t
    )
    UPDATE django_workflow_task t
    SET status = e.status, hold_reason = e.hold_reason, failure_count = e.failure_count, lost_count = e.lost_count,
        due_at = CASE WHEN e.delay > 0 THEN
                     CASE WHEN e.status = 'held' THEN (SELECT paused_at FROM django_workflow_run WHERE id = t.run_id)
                          ELSE clock_timestamp() END + make_interval(secs => e.delay) END,
        message_id = CASE WHEN e.keeps_message THEN t.message_id END,
        lease_id = CASE WHEN e.keeps_lease THEN t.lease_id END,
        worker_id = CASE WHEN e.keeps_lease THEN t.worker_id END, begun_at = NULL
    FROM again e WHERE t.id = e.id
    RETURNING t.id, e.lease_id, e.message_id
"""


def requeue(rows: Sequence[tuple[Any, ...]]) -> list[db.Row]:
    """Put tasks back whose lease still matches; return of these the id, the lease and the message they had."""
    return db.rows(REQUEUE_IF_LEASED, REQUEUED.params(rows)) if rows else []


# one task after the other is executed: what runs at the begin of a claim is known to nobody
PUT_BACK = """
    UPDATE django_workflow_task t SET status = 'queued', lease_id = NULL, begun_at = NULL
    FROM django_workflow_steprun s
    WHERE s.run_id = %s AND s.status = 'running' AND t.step_run_id = s.id AND t.status = 'running'
"""


def put_back(run_id: UUID) -> None:
    """Queue the task of a local run again that its process has taken without learning of it."""
    db.add(PUT_BACK, [run_id])


POINT_AT_SENT = """
    UPDATE django_workflow_task t SET message_id = sent.message_id FROM sent WHERE t.id = sent.task_id
"""


def send_for(tasks: Sequence[tuple[int, str, float]]) -> set[str]:
    """Send a message for each (task, queue, delay) and point the tasks at them; the caller holds their locks.

    Their statuses stay. Returns the queues.
    """
    groups: dict[tuple[str, float], list[int]] = defaultdict(list)
    for task_id, name, delay in tasks:
        groups[name, delay].append(task_id)
    for (name, delay), ids in groups.items():
        db.add(*queue.sending(POINT_AT_SENT, [], name, ids, delay))
    return {name for name, _ in groups}


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
