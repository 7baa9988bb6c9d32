"""A run whose lock this transaction holds: locking it, and what a decision may look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError

from django_workflow import db, payload
from django_workflow.conf import conf
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.routing.facts import Decision, Error, RunFacts, RunState
from django_workflow.exceptions import AlreadySettled, NotSupported, RunBusy, RunNotFound
from django_workflow.statuses import RUN_TERMINAL, RUNNING


@dataclass(slots=True)
class LockedRun:
    """A run whose lock this transaction holds, with what its row says; `paused_queues` are those of the database.

    is_flow_paused: its flow is paused, while the run itself may not have been marked yet.
    """

    id: UUID
    status: str
    version_id: int
    open_steps: int
    task_count: int
    is_local: bool
    variables_id: int | None = None
    paused_queues: Sequence[str] | None = None
    is_flow_paused: bool = False
    failing: Error | None = None

    def begin(self, decision: Decision) -> None:
        """Be as the decision about its beginning leaves it, before it is inserted."""
        self.status = decision.status or RUNNING
        self.open_steps, self.task_count = decision.open_steps, decision.task_count
        self.variables_id, self.failing = decision.final_variables, decision.failing

    def may_take(self, queue_name: str) -> bool:
        """Say whether tasks of a queue may begin at once: as they are made, or again where they were lost."""
        return not (self.is_local or self.is_flow_paused or queue_name in (self.paused_queues or ()))


READ_COMMITTED = "read committed"
# own statement, before anything is read: what the runs' other tasks did is visible only to a
# snapshot taken after this lock was got
LOCKED = db.select(
    LockedRun, id="id", status="status", version_id="version_id", open_steps="open_steps", task_count="task_count",
    is_local="is_local", variables_id="variables_id",
    paused_queues="(SELECT array_agg(name) FROM django_workflow_queue WHERE paused_at IS NOT NULL)",
    is_flow_paused="flow_id IN (SELECT id FROM django_workflow_flowdefinition WHERE paused_at IS NOT NULL)",
)  # fmt: skip
LOCK_RUNS = f"""
    SELECT {LOCKED}, error, current_setting('transaction_isolation')
    FROM django_workflow_run WHERE id = ANY(%s::uuid[]) AND {{only}} ORDER BY id FOR NO KEY UPDATE
"""


def lock_runs(run_ids: Iterable[UUID], *, wait_ms: int | None = None, only: str = "true") -> dict[UUID, LockedRun]:
    """Lock runs in id order and return them; None as `wait_ms` skips those that somebody else holds.

    only: a condition in SQL, read again under the lock; runs that do not meet it are left out.
    Raises `NotSupported` in a transaction of the caller's that would go on to see what was there before the locks.
    """
    sql, wanted = LOCK_RUNS.format(only=only), [list(run_ids)]
    if wait_ms is None:
        found = db.rows(sql + " SKIP LOCKED", wanted)
    else:
        with db.lock_timeout(wait_ms):
            found = db.rows(sql, wanted)
    runs = {}
    for *columns, error, isolation in found:
        check_isolation(isolation)
        run = LockedRun(*columns)
        run.failing = payload.loads(error)
        runs[run.id] = run
    return runs


def check_isolation(level: str) -> None:
    """Raise `NotSupported` for a caller's transaction that sees what was there before its locks; tests are alone."""
    if level != READ_COMMITTED and not db.in_test_transaction():
        raise NotSupported(
            f"This transaction is {level.upper()}, in which runs can be started but not changed: what other sessions "
            "did would not be seen. Do it outside of the transaction, or begin that with SET TRANSACTION ISOLATION "
            "LEVEL READ COMMITTED."
        )


def facts_of(run: LockedRun, spec: FlowSpec, state: RunState, input: Any) -> RunFacts:
    """Return what a decision about a locked run may look at; of the input where the definition has routing read it."""
    return RunFacts(
        input=input,
        state=state,
        open_steps=run.open_steps,
        task_count=run.task_count,
        max_tasks=spec.max_tasks or conf.MAX_TASKS,
        max_iterations=spec.max_iterations or conf.MAX_ITERATIONS,
        variables=run.variables_id,
        failing=run.failing,
        max_output=conf.MAX_OUTPUT_BYTES,
    )


#: How long a verb waits for a run that a settle holds.
WAIT_MS = 10_000


def lock_patiently(run_ids: Iterable[UUID]) -> dict[UUID, LockedRun]:
    """Lock the runs that a verb is about; raises `RunBusy` where somebody else holds one for too long."""
    with _told_as_busy("the run"):
        return lock_runs(run_ids, wait_ms=WAIT_MS)


@contextmanager
def waiting_patiently(what: str) -> Iterator[None]:
    """Let a statement wait for a row only so long, within a transaction block; raises `RunBusy`, which names `what`."""
    with _told_as_busy(what), db.lock_timeout(WAIT_MS):
        yield


@contextmanager
def _told_as_busy(what: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        if not db.is_lock_timeout(error):
            raise
        raise RunBusy(
            f"Another transaction has held {what} for {WAIT_MS // 1000} s. Nothing was changed; try again when it has "
            "ended."
        ) from error


def lock_unsettled(run_ids: Sequence[UUID], *, unless: str = "") -> dict[UUID, LockedRun]:
    """Lock the runs that a verb is about.

    unless: a terminal status that is no objection, for the verb has taken effect.
    Raises `RunNotFound`, and `AlreadySettled` for a run that has ended.
    """
    runs = lock_patiently(run_ids)
    for run_id in run_ids:
        if run_id not in runs:
            raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
        status = runs[run_id].status
        if status in RUN_TERMINAL and status != unless:
            raise AlreadySettled(f"Run {run_id} has already ended {status}.", run_id=run_id, status=status)
    return runs


def local_lease_key(run_id: UUID) -> int:
    """Return the advisory lock that the process which executes a local run holds; a copied site has the same runs."""
    return int.from_bytes(run_id.bytes[8:], "big", signed=True) ^ db.number_of_schema()
