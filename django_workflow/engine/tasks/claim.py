"""Taking tasks of a queue. A claim takes no run's lock and ends no task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import starmap
from typing import Any
from uuid import UUID

from django_workflow import db, queue
from django_workflow.engine.stored import versions
from django_workflow.engine.tasks.claimed import ClaimedTask, OpenClaim
from django_workflow.engine.tasks.inputs import fill_dependencies, fill_inputs, fill_variables, params_of, takes_input
from django_workflow.ids import new_lease_id

#: Inputs up to this size come with the claim; larger ones are read once per run.
INLINE_BYTES = 2_000
#: Seconds until the message of a task that could not be taken now is read again.
SOON = 1.0


def claimed(  # noqa: PLR0917  as a statement returns them
    queue: str,
    lease_id: int,
    id: int,
    run_id: UUID,
    step_run_id: int,
    message_id: int | None,
    index: int,
    attempt: int,
    failure_count: int,
    lost_count: int,
    item: str | None,
    is_begun: bool,  # noqa: FBT001
    is_lost: bool,  # noqa: FBT001
    lost_lease_id: int | None,
    step: str,
    iteration: int,
    scope: int,
    variables_id: int | None,
    version_id: int,
    age: float,
    is_input_read: bool,  # noqa: FBT001
    input: str | None,
    source_id: int | None,
    worker_id: int | None,
    lost_worker_id: int | None,
) -> ClaimedTask | None:
    """Return the task of a row that a claim has taken; None where this release cannot read its version."""
    spec = versions.readable_spec(version_id)
    if spec is None:
        return None
    return ClaimedTask(
        id, run_id, step_run_id, message_id, lease_id, index, attempt, failure_count, lost_count, item, spec,
        spec.steps[step], iteration, queue, age, is_begun, is_lost, False, lost_lease_id, input, scope, source_id,
        variables_id, worker_id=worker_id, lost_worker_id=lost_worker_id, is_input_read=is_input_read,
    )  # fmt: skip


#: Makes a task of a row without the queue and the lease, which are known to whoever takes it.
OF_ROW = partial(claimed, "", 0)
#: What is the same in all that takes tasks.
COLUMNS = {
    "id": "t.id", "run_id": "t.run_id", "step_run_id": "t.step_run_id", "message_id": "t.message_id",
    "index": "t.index", "attempt": "t.attempt", "failure_count": "t.failure_count", "lost_count": "t.lost_count",
    "item": "t.item", "is_begun": "t.begun_at IS NOT NULL", "step": "s.step", "iteration": "s.iteration",
    "scope": "s.scope", "variables_id": "s.variables_id", "source_id": "s.source_id", "worker_id": "t.worker_id",
    "age": "extract(epoch FROM clock_timestamp() - t.created_at)::float8",
}  # fmt: skip
TAKEN = db.select(
    OF_ROW, **COLUMNS, is_lost="l.status = 'running'", lost_lease_id="l.lease_id", version_id="l.version_id",
    is_input_read="l.is_inline", input="l.input", lost_worker_id="l.worker_id",
)  # fmt: skip
MESSAGES = db.Columns("w", message_id="bigint", task_id="bigint", begins="bool")
# second statement of a claim: its snapshot is younger than the read, so every message's task is seen. Its commit
# waits for no flush: handlers begin meanwhile, and the dispatcher flushes. A large input is left out where the rows are
# locked: an UPDATE carries what it joins as whole rows, and would read the input once for each task
TAKE = f"""
    WITH locked AS MATERIALIZED (
        SELECT t.id, t.step_run_id, t.status, t.lease_id, t.worker_id, t.begun_at, t.lost_count, w.begins, r.version_id,
               coalesce(pg_column_size(r.input) <= %s, true) AS is_inline,
               CASE WHEN pg_column_size(r.input) <= %s THEN r.input END AS input
        FROM (SELECT set_config('synchronous_commit', 'off', true)) AS s,
             {MESSAGES}
        JOIN django_workflow_task t ON t.id = w.task_id AND t.message_id = w.message_id
        JOIN django_workflow_run r ON r.id = t.run_id
        JOIN django_workflow_flowdefinition f ON f.id = r.flow_id
        WHERE (t.status = 'running' OR t.status = 'queued' AND f.paused_at IS NULL AND NOT EXISTS (
                   SELECT 1 FROM django_workflow_queue WHERE name = %s AND paused_at IS NOT NULL))
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE django_workflow_task t
    SET status = 'running', lease_id = %s, worker_id = %s, attempt = t.attempt + 1, hold_reason = '',
        begun_at = CASE WHEN l.status = 'running' THEN l.begun_at
                        WHEN l.lost_count = 0 AND l.begins THEN clock_timestamp() END
    FROM locked l
    JOIN django_workflow_steprun s ON s.id = l.step_run_id
    WHERE t.id = l.id
    RETURNING {TAKEN}
"""
READ_UNTAKEN = "SELECT id, status, message_id FROM django_workflow_task WHERE id = ANY(%s::bigint[])"


def claim(
    queue_name: str,
    limit: int,
    *,
    slots: int,
    lease: float,
    worker_id: int | None = None,
    read: Callable[[str, float, int], list[tuple[int, int | None]]] | None = None,
    opened: list[OpenClaim] | None = None,
) -> list[ClaimedTask]:
    """Take up to `limit` tasks of a queue, oldest message first.

    slots: how many of them begin at once; these are marked begun by the claim itself.
    lease: seconds until a message reappears unless a heartbeat extends it.
    read: how messages are read where that is not done from the front of the queue, as `queue.read` does.
    opened: gets what the claim may take before it does: should its answer be lost, these tasks carry its lease.
    Messages whose task can never be claimed by them are dropped.

    The caller flushes, now or by what it commits next. Should the server crash before, the claim has not been: the
    tasks are claimed again, and the random lease fences whoever held them.
    """
    messages = (read or queue.read)(queue_name, lease, limit)
    if not messages:
        return []
    lease_id = new_lease_id()
    message_ids, task_ids = zip(*messages, strict=True)
    if opened is not None:
        opened.append(OpenClaim(lease_id, [task for task in task_ids if task is not None]))
    begins = [place < slots for place in range(len(messages))]
    sets = MESSAGES.lists(message_id=message_ids, task_id=task_ids, begins=begins)
    params = [INLINE_BYTES, INLINE_BYTES, *sets, queue_name, lease_id, worker_id]
    try:
        found = db.rows(TAKE, params)
    except Exception as error:
        if not (db.is_of_connection(error) or db.in_transaction()):
            # nothing was taken, and nobody else has read what this read has hidden
            queue.hide(queue_name, message_ids, [0.0] * len(message_ids))
        raise
    tasks = tasks_of(found, queue_name, lease_id)
    taken = {task.message_id for task in tasks}
    untaken = [(message, task) for message, task in messages if message not in taken]
    if len(tasks) < len(found):
        # those that this release cannot read stay to their lease, which is not counted
        db.execute(UNMARK_IF_LEASED, [[task for _, task in untaken], lease_id])
    _leave(queue_name, untaken)
    return equipped(tasks)


UNMARK_IF_LEASED = """
    UPDATE django_workflow_task SET begun_at = NULL
    WHERE id = ANY(%s::bigint[]) AND lease_id = %s AND status = 'running'
"""


def _leave(queue_name: str, untaken: Sequence[tuple[int, int | None]]) -> None:
    """Delete messages that no claim can ever use; those of tasks that are locked or paused now come back soon.

    A locked row is not an absent one, so the read is unlocked.
    """
    if not untaken:
        return
    states = {
        task_id: (status, message_id)
        for task_id, status, message_id in db.rows(READ_UNTAKEN, [[task for _, task in untaken]])
    }
    dead = [
        message
        for message, task in untaken
        if task not in states or states[task][0] not in ("queued", "running") or states[task][1] != message
    ]
    if dead:
        queue.delete(queue_name, dead)
    queued = [message for message, task in untaken if message not in dead and states[task][0] == "queued"]
    if queued:
        queue.hide(queue_name, queued, [SOON] * len(queued))


def tasks_of(found: Iterable[Sequence[Any]], queue_name: str, lease_id: int) -> list[ClaimedTask]:
    """Turn claimed rows into tasks; those of versions that this release cannot read are left out."""
    made = starmap(partial(claimed, queue_name, lease_id), found)
    return sorted((task for task in made if task is not None), key=lambda task: task.id)


def equipped(tasks: list[ClaimedTask]) -> list[ClaimedTask]:
    """Read what the handlers of tasks take, once per step run."""
    fill_inputs([task for task in tasks if not task.is_input_read and takes_input(task, params_of(task))])
    fill_variables(tasks)
    fill_dependencies(tasks)
    return tasks
