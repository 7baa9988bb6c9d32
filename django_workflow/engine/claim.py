"""Taking tasks: `claim`, `claim_local`, `begin`, `heartbeat`. None takes a run's lock or ends a task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django_workflow import db, queue
from django_workflow.definition.names import CONTEXT_NAMES
from django_workflow.definition.registry import registry
from django_workflow.definition.spec import MAP, FlowSpec, StepSpec
from django_workflow.engine import publish
from django_workflow.engine.decisions import OUTERMOST
from django_workflow.engine.outputs import Scopes, StepOutput, Wanted, outer_scopes, read_inputs, read_outputs
from django_workflow.ids import new_lease_id
from django_workflow.statuses import SUCCEEDED

#: Inputs up to this size come with the claim; larger ones are read once per run.
INLINE_BYTES = 2_000
#: Seconds until the message of a task that could not be taken now is read again.
SOON = 1.0


@dataclass(slots=True, eq=False)
class ClaimedTask:
    """A task this worker holds the lease of, with all its handler needs.

    is_begun: its begin is recorded, so losing it counts as a failure.
    is_lost: another worker had it and did not extend its lease; it begins only after that has been settled.
    source_id: the step run that led to its own. worker_id: of this attempt. lost_worker_id: of the one that was lost.
    age: seconds since the task was made.
    input, variables: JSON text, where the handler asks for it. is_input_read: the input is here.
    dependencies: outputs that the handler takes by name. sources: the steps whose outputs were looked for.
    """

    id: int
    run_id: UUID
    step_run_id: int
    message_id: int | None
    lease_id: int
    index: int
    attempt: int
    failure_count: int
    lost_count: int
    item: str | None
    spec: FlowSpec
    step: StepSpec
    iteration: int
    queue: str
    age: float
    is_begun: bool
    is_lost: bool = False
    is_local: bool = False
    lost_lease_id: int | None = None
    input: str | None = None
    scope: int = OUTERMOST
    source_id: int | None = None
    variables_id: int | None = None
    variables: str | None = None
    worker_id: int | None = None
    lost_worker_id: int | None = None
    dependencies: Mapping[str, StepOutput] = field(default_factory=dict)
    is_input_read: bool = False
    sources: tuple[str, ...] = ()

    @property
    def fence(self) -> tuple[int, int]:
        """What this attempt is known by: one process may hold two attempts of a task, an old and a new one."""
        return self.id, self.lease_id


@dataclass(slots=True)
class OpenClaim:
    """The tasks that a claim may have taken, until whoever claims has them in hand."""

    lease_id: int
    task_ids: list[int] = field(default_factory=list)


# second statement of a claim: its snapshot is younger than the read, so every message's task is seen. Its commit
# waits for no flush: handlers begin meanwhile, and the dispatcher flushes. A large input is left out where the rows are
# locked: an UPDATE carries what it joins as whole rows, and would read the input once for each task
TAKE = """
    WITH locked AS MATERIALIZED (
        SELECT t.id, t.step_run_id, t.status, t.lease_id, t.worker_id, t.begun_at, t.lost_count, w.begins, r.version_id,
               coalesce(pg_column_size(r.input) <= %s, true) AS is_inline,
               CASE WHEN pg_column_size(r.input) <= %s THEN r.input END AS input
        FROM (SELECT set_config('synchronous_commit', 'off', true)) AS s,
             unnest(%s::bigint[], %s::bigint[], %s::bool[]) AS w(message_id, task_id, begins)
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
    RETURNING t.id, t.run_id, t.step_run_id, t.message_id, t.index, t.attempt, t.failure_count, t.lost_count,
              t.item, t.begun_at IS NOT NULL, l.status = 'running', l.lease_id, s.step, s.iteration, s.scope,
              s.variables_id, l.version_id,
              extract(epoch FROM clock_timestamp() - t.created_at)::float8,
              l.is_inline, l.input, s.source_id, t.worker_id, l.worker_id
"""
#: Where the version stands in a row of TAKE.
VERSION = 16
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
    message_ids, task_ids = (list(column) for column in zip(*messages, strict=True))
    if opened is not None:
        opened.append(OpenClaim(lease_id, [task for task in task_ids if task is not None]))
    begins = [place < slots for place in range(len(messages))]
    params = [INLINE_BYTES, INLINE_BYTES, message_ids, task_ids, begins, queue_name, lease_id, worker_id]
    try:
        found = db.rows(TAKE, params)
    except Exception as error:
        if not (db.is_of_connection(error) or db.in_transaction()):
            # nothing was taken, and nobody else has read what this read has hidden
            queue.hide(queue_name, message_ids, [0.0] * len(message_ids))
        raise
    taken = {row[3] for row in found}
    _leave(queue_name, [pair for pair in messages if pair[0] not in taken])
    return _equip(_readable(found, lease_id), queue_name, lease_id)


UNMARK_IF_LEASED = """
    UPDATE django_workflow_task SET begun_at = NULL
    WHERE id = ANY(%s::bigint[]) AND lease_id = %s AND status = 'running'
"""


def _readable(found: list[db.Row], lease_id: int) -> list[db.Row]:
    """Leave out tasks of versions that this release cannot read; they stay to their lease, which is not counted."""
    unreadable = {version for version in {row[VERSION] for row in found} if publish.readable_spec(version) is None}
    if not unreadable:
        return found
    db.execute(UNMARK_IF_LEASED, [[row[0] for row in found if row[VERSION] in unreadable], lease_id])
    return [row for row in found if row[VERSION] not in unreadable]


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


@dataclass
class Taker:
    """A worker that claims tasks as they are made: its queues were empty when it last looked, and it has free slots.

    Nobody waits longer for it, for nothing waits; a chain's next step begins without a round through the
    queue. The message is sent all the same, hidden for the lease: should the worker not settle it, it appears.

    lease: seconds. queues: those it serves and found empty. slots: how many tasks it can begin at once.
    knows: whether it has the code of a step. taken: the tasks it got. opened: as for `claim`.
    """

    worker_id: int | None
    lease: float
    queues: frozenset[str]
    slots: int
    knows: Callable[[FlowSpec, StepSpec], bool]
    lease_id: int = field(default_factory=new_lease_id)
    taken: list[ClaimedTask] = field(default_factory=list)
    opened: list[OpenClaim] = field(default_factory=list)

    def afresh(self) -> Taker:
        """Return the same taker with nothing taken, for another try."""
        fresh = replace(self, lease_id=new_lease_id(), taken=[])
        self.opened.append(OpenClaim(fresh.lease_id))
        return fresh

    def wants(self, spec: FlowSpec, step: StepSpec, queue_name: str) -> bool:
        """Say whether it takes a new task of `step`."""
        return len(self.taken) < self.slots and queue_name in self.queues and self.knows(spec, step)

    def take(self, spec: FlowSpec, step: StepSpec, **columns: Any) -> None:
        """Remember a task that the caller inserts as running under this taker's lease; `columns` are its own."""
        self.opened[-1].task_ids.append(columns["id"])
        self.taken.append(
            ClaimedTask(
                **columns, spec=spec, step=step, message_id=None, lease_id=self.lease_id, attempt=1, failure_count=0,
                lost_count=0, age=0.0, is_begun=True, worker_id=self.worker_id,
            )
        )  # fmt: skip


def equip_taken(tasks: Sequence[ClaimedTask], known: Callable[[ClaimedTask, str], str | None]) -> None:
    """Read what the handlers of taken tasks receive.

    known: gives the output in hand, as JSON, that a task takes of a step, or None.
    """
    _read_inputs([task for task in tasks if takes_input(task, params_of(task))])
    _read_variables(tasks)
    for task in tasks:
        found = ((name, known(task, name)) for name in sources_of(task, params_of(task)))
        task.dependencies = {name: StepOutput(SUCCEEDED, text) for name, text in found if text is not None}
    _read_dependencies(tasks)


def params_of(task: ClaimedTask) -> tuple[str, ...]:
    """Return the parameters of the handler as this process has it; the version knows those of its own time."""
    handler = registry.handler(task.step.handler)
    return task.step.params if handler is None else handler.params


def takes_input(task: ClaimedTask, params: Container[str]) -> bool:
    """Say whether a handler with these parameters, or its step's expressions, needs the run's input."""
    return "input" in params or bool(task.step.arguments) or task.step.retry_when is not None


def sources_of(task: ClaimedTask, params: tuple[str, ...]) -> tuple[str, ...]:
    """Return the steps of the run's version whose outputs a handler with these parameters takes by name."""
    step = task.step
    if params == step.params:
        return step.sources
    others = CONTEXT_NAMES.union(step.arguments)
    return tuple(name for name in params if name not in others and name in task.spec.steps)


def is_equipped(task: ClaimedTask, params: tuple[str, ...]) -> bool:
    """Say whether a task came with all that a handler with these parameters takes."""
    if not task.is_input_read and takes_input(task, params):
        return False
    wanted = sources_of(task, params)
    return wanted == task.sources or set(wanted) <= set(task.sources)


def equip(task: ClaimedTask, params: tuple[str, ...]) -> None:
    """Read what a handler takes and the claim did not bring: where it runs the code may be another release's."""
    if takes_input(task, params) and not task.is_input_read:
        _read_inputs([task])
    _read_dependencies([task], lambda _: params)


# the condition on the status is read again by PostgreSQL under the row's lock
TAKE_LOCAL = """
    UPDATE django_workflow_task t
    SET status = 'running', lease_id = %s, attempt = t.attempt + 1, begun_at = clock_timestamp()
    FROM django_workflow_steprun s, django_workflow_run r
    WHERE t.id = (
        {wanted}
        FOR NO KEY UPDATE OF q
    ) AND s.id = t.step_run_id AND r.id = t.run_id
    RETURNING t.id, t.run_id, t.step_run_id, t.message_id, t.index, t.attempt, t.failure_count, t.lost_count,
              t.item, true, false, NULL::bigint, s.step, s.iteration, s.scope, s.variables_id, r.version_id,
              extract(epoch FROM clock_timestamp() - t.created_at)::float8, true, r.input,
              s.source_id, NULL::bigint, NULL::bigint
"""
TAKE_LOCAL_NEXT = TAKE_LOCAL.format(
    wanted="""
        SELECT q.id FROM django_workflow_task q JOIN django_workflow_steprun o ON o.id = q.step_run_id
        WHERE o.run_id = %s AND o.status = 'running' AND q.status = 'queued'
          AND (q.due_at IS NULL OR q.due_at <= clock_timestamp())
        ORDER BY q.step_run_id, q.index LIMIT 1"""
)
TAKE_LOCAL_ONE = TAKE_LOCAL.format(
    wanted="""
        SELECT q.id FROM django_workflow_task q JOIN django_workflow_steprun o ON o.id = q.step_run_id
        WHERE q.id = %s AND o.status = 'running' AND q.status = 'queued'
          AND (q.due_at IS NULL OR q.due_at <= clock_timestamp())"""
)


def claim_local(run_id: UUID, known: list[int]) -> ClaimedTask | None:
    """Take the next due task of a run that is executed in this process.

    known: ids of tasks that are likely to be due, which are taken from it; without one the run is searched, and a
    long one is long to search.
    """
    lease_id = new_lease_id()
    found: list[ClaimedTask] = []
    while known and not found:
        found = _equip(db.rows(TAKE_LOCAL_ONE, [lease_id, known.pop(0)]), "", lease_id)
    if not found:
        found = _equip(db.rows(TAKE_LOCAL_NEXT, [lease_id, run_id]), "", lease_id)
    for task in found:
        task.is_local = True
        return task
    return None


def _equip(found: Iterable[Sequence[Any]], queue_name: str, lease_id: int) -> list[ClaimedTask]:
    """Turn claimed rows into tasks and read what their handlers take, once per step run."""
    tasks = sorted((claimed(row, queue_name, lease_id) for row in found), key=lambda task: task.id)
    _read_inputs([task for task in tasks if not task.is_input_read and takes_input(task, params_of(task))])
    _read_variables(tasks)
    _read_dependencies(tasks)
    return tasks


def claimed(row: Sequence[Any], queue_name: str, lease_id: int) -> ClaimedTask:
    """Return the task of a row of TAKE."""
    (
        task_id, run_id, step_run_id, message_id, index, attempt, failures, losses, item, is_begun, is_lost,
        lost_lease_id, step, iteration, scope, variables_id, version_id, age, is_inline, run_input,
        source_id, worker_id, lost_worker_id,
    ) = row  # fmt: skip
    spec = publish.spec_of(version_id)
    return ClaimedTask(
        task_id, run_id, step_run_id, message_id, lease_id, index, attempt, failures, losses, item, spec,
        spec.steps[step], iteration, queue_name, age, is_begun, is_lost, False, lost_lease_id, run_input,
        scope, source_id, variables_id, worker_id=worker_id, lost_worker_id=lost_worker_id,
        is_input_read=is_inline,
    )  # fmt: skip


def _read_inputs(tasks: Sequence[ClaimedTask]) -> None:
    inputs = read_inputs(task.run_id for task in tasks)
    for task in tasks:
        task.input, task.is_input_read = inputs[task.run_id], True


READ_VALUES = "SELECT id, values FROM django_workflow_variables WHERE id = ANY(%s::bigint[])"


def _read_variables(tasks: Sequence[ClaimedTask]) -> None:
    """Read the variables of tasks, once for all that have the same."""
    wanted = {task.variables_id for task in tasks if task.variables_id is not None}
    if wanted:
        values: dict[int | None, str] = dict(db.rows(READ_VALUES, [list(wanted)]))
        for task in tasks:
            task.variables = values.get(task.variables_id)


def _read_dependencies(
    tasks: Sequence[ClaimedTask], params: Callable[[ClaimedTask], tuple[str, ...]] = params_of
) -> None:
    """Read the outputs that handlers take by name, once for all tasks that take the same."""
    asking = []
    for task in tasks:
        task.sources = sources_of(task, params(task))
        asking += [(task, name) for name in task.sources if name not in task.dependencies]
    if not asking:
        return
    scopes = outer_scopes({task.scope for task, _ in asking})
    wanted = [wanted_by(task, name, scopes[task.scope]) for task, name in asking]
    found = read_outputs(wanted)
    for (task, name), key in zip(asking, wanted, strict=True):
        output = found.get(key)
        if output is not None:
            task.dependencies = {**task.dependencies, name: output}


def wanted_by(task: ClaimedTask, step: str, scopes: Scopes) -> Wanted:
    """Return what is to be read for a task of a step; where that has one activation, it is the same for all tasks."""
    source = task.source_id if step in task.spec.repeating or step in task.spec.splits else None
    return task.run_id, step, task.spec.steps[step].kind == MAP, scopes, source


# the guard is the fence: what is no longer leased by this claim does not begin. Only the holder of a
# run's lock waits for tasks: a begin that waited for one while it holds another could meet a cancel
BEGIN_IF_LEASED = """
    WITH leased AS MATERIALIZED (
        SELECT t.id FROM django_workflow_task t
        JOIN unnest(%s::bigint[], %s::bigint[]) AS b(id, lease_id) ON t.id = b.id AND t.lease_id = b.lease_id
        WHERE t.status = 'running'
        ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
    )
    UPDATE django_workflow_task t SET begun_at = coalesce(t.begun_at, clock_timestamp())
    FROM leased WHERE t.id = leased.id
    RETURNING t.id
"""


def begin(tasks: Sequence[ClaimedTask]) -> set[int]:
    """Record durably that these tasks' handlers begin; returns the ids whose lease holds and whose row is free."""
    if not tasks:
        return set()
    found = db.rows(BEGIN_IF_LEASED, [[task.id for task in tasks], [task.lease_id for task in tasks]])
    begun = {row[0] for row in found}
    for task in tasks:
        task.is_begun = task.id in begun
    return begun


#: The reason for which a task is handed back by a process without its code, and how it is found again.
UNKNOWN = "no {} in this process"
ANY_UNKNOWN = UNKNOWN.format("%")
SECONDS_UNKNOWN = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(ended_at)), 0)::float8 FROM django_workflow_attempt
    WHERE task_id = %s AND outcome = 'released' AND message LIKE %s
"""


def seconds_unknown(task: ClaimedTask) -> float:
    """Return how long ago a process first handed this task back because it did not have its code."""
    seconds: float = db.rows(SECONDS_UNKNOWN, [task.id, ANY_UNKNOWN])[0][0]
    return seconds


@dataclass(slots=True)
class Pulse:
    """What a heartbeat learnt: leases held on, ended by others, and not looked at because locked."""

    held: set[int] = field(default_factory=set)
    ended: dict[int, str] = field(default_factory=dict)
    skipped: set[int] = field(default_factory=set)


LOCK_LEASED = """
    SELECT t.id, t.queue, t.message_id FROM django_workflow_task t
    JOIN unnest(%s::bigint[], %s::bigint[]) AS h(id, lease_id) ON t.id = h.id AND t.lease_id = h.lease_id
    WHERE t.status = 'running'
    ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED
"""
READ_LEASES = """
    SELECT t.id, t.status, t.lease_id = h.lease_id FROM django_workflow_task t
    JOIN unnest(%s::bigint[], %s::bigint[]) AS h(id, lease_id) ON t.id = h.id
"""
TELL_PROGRESS = """
    UPDATE django_workflow_task t SET progress = p.progress
    FROM unnest(%s::bigint[], %s::float8[]) AS p(id, progress) WHERE t.id = p.id
"""


def heartbeat(tasks: Sequence[ClaimedTask], lease: float, progress: Mapping[int, float] | None = None) -> Pulse:
    """Extend the leases of tasks, and learn which of them were cancelled or taken by others.

    lease: seconds from now. progress: what handlers told since the last heartbeat, by task id.
    Commits asynchronously: a lost heartbeat is repeated.
    """
    pulse = Pulse()
    by_id = {task.id: task for task in tasks if not task.is_local}
    if not by_id:
        return pulse
    params = [list(by_id), [task.lease_id for task in by_id.values()]]
    with db.atomic():
        db.without_waiting_for_flush()
        messages: dict[str, list[int]] = defaultdict(list)
        # the row's own message: the keeper may have sent another one since the claim
        for task_id, queue_name, message_id in db.rows(LOCK_LEASED, params):
            pulse.held.add(task_id)
            if message_id is not None:
                messages[queue_name].append(message_id)
        for queue_name, ids in messages.items():
            queue.extend(queue_name, ids, lease)
        told = {key: value for key, value in (progress or {}).items() if key in pulse.held}
        if told:
            db.execute(TELL_PROGRESS, [list(told), list(told.values())])
    rest = [task for task_id, task in by_id.items() if task_id not in pulse.held]
    if rest:
        _judge_unlocked(rest, pulse)
    return pulse


def _judge_unlocked(rest: Sequence[ClaimedTask], pulse: Pulse) -> None:
    """A row skipped because it was locked is not a lost one: read it without a lock."""
    rows = db.rows(READ_LEASES, [[task.id for task in rest], [task.lease_id for task in rest]])
    states = {task_id: (status, is_mine) for task_id, status, is_mine in rows}
    for task in rest:
        status, is_mine = states.get(task.id, ("gone", False))
        if status == "running" and is_mine:
            pulse.skipped.add(task.id)
        else:
            pulse.ended[task.id] = status if is_mine or status != "running" else "lost"
