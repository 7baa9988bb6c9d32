"""Waiting for a run to settle: notified, and polling slowly, for a notification may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from django_workflow import db
from django_workflow.exceptions import NotSupported, RunNotFound, WaitTimeout
from django_workflow.read.run.durations import RUN_BEGUN
from django_workflow.statuses import PAUSED, RUN_TERMINAL, SCHEDULED

READ_STATUS = "SELECT status FROM django_workflow_run WHERE id = %s"
#: Seconds after which a waiter looks by itself.
POLL = 0.5


def until_settled(run_id: UUID, timeout: float | None, look: Callable[[], None] | None = None) -> str:
    """Block until the run is terminal and return its status.

    timeout: seconds; None waits for ever. look: called each time before the run is looked at again.
    Raises `WaitTimeout`; `RunNotFound`; `NotSupported` where the caller's own transaction keeps the run from settling.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    if status_of(run_id) in RUN_TERMINAL:
        return status_of(run_id)
    with db.listen([db.RUN_CHANNEL]) as listener:
        if db.in_transaction():
            _refuse_own_changes(run_id, listener)
        while True:
            status = status_of(run_id)
            if status in RUN_TERMINAL:
                return status
            remaining = POLL if deadline is None else min(POLL, deadline - time.monotonic())
            if remaining <= 0:
                told = f"Run {run_id} is {status} after {timeout:g} s; {prospect_of(run_id, status)}."
                raise WaitTimeout(told, run_id=run_id)
            if look is not None:
                look()
            listener.wait_for(str(run_id), remaining)


READ_PROSPECT = f"""
    SELECT f.paused_at IS NOT NULL, {RUN_BEGUN.format(run="r")} IS NOT NULL
    FROM django_workflow_run r JOIN django_workflow_flowdefinition f ON f.id = r.flow_id WHERE r.id = %s::uuid
"""  # noqa: S608  a constant


def prospect_of(run_id: UUID, status: str) -> str:
    """Say whether a run that has not settled goes on by itself, as the end of a sentence."""
    for is_flow_paused, is_begun in db.rows(READ_PROSPECT, [run_id]):
        if is_flow_paused:
            return "it goes on once its flow is resumed"
        if status == PAUSED:
            return "it goes on once it is resumed"
        if status == SCHEDULED:
            return "it has not started yet"
        if not is_begun:
            return "no worker has begun it"
    return "it goes on"


# every change of a run makes a new version of its row, or records an event
READ_CHANGE = """
    SELECT r.xmin::text, (SELECT max(e.number) FROM django_workflow_event e WHERE e.run_id = r.id)
    FROM django_workflow_run r WHERE r.id = %s::uuid
"""


def _refuse_own_changes(run_id: UUID, others: db.Listener) -> None:
    """Raise `NotSupported` where this transaction started the run, or changed it: no worker sees that before it ends.

    What others see is read between two equal looks of our own: so it is no change that was committed meanwhile.
    """
    ours: list[db.Row] = []
    while ours != (ours := db.rows(READ_CHANGE, [run_id])):
        theirs = others.rows(READ_CHANGE, [run_id])
    if theirs == ours:
        return
    what = "changed" if theirs else "started"
    if db.in_test_transaction():
        raise NotSupported(
            f"Run {run_id} was {what} in this test's transaction, which is never committed, so no worker sees it. "
            "Execute what is queued with django_workflow.testing.run_until_idle().",
            run_id=run_id,
        )
    raise NotSupported(
        f"Run {run_id} was {what} in this transaction, and no worker sees that before it commits: waiting here would "
        "never end. Wait after atomic(), or in transaction.on_commit(); a view under ATOMIC_REQUESTS that has to wait "
        "is marked with @transaction.non_atomic_requests.",
        run_id=run_id,
    )


def status_of(run_id: UUID) -> str:
    """Return a run's status; raises `RunNotFound`."""
    found = db.rows(READ_STATUS, [run_id])
    if not found:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    status: str = found[0][0]
    return status
