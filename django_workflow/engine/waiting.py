"""Waiting for a run to settle: notified, and polling slowly, for a notification may be lost."""

from __future__ import annotations

import time
from uuid import UUID

from django_workflow import db
from django_workflow.exceptions import RunNotFound, WaitTimeout
from django_workflow.statuses import RUN_TERMINAL

READ_STATUS = "SELECT status FROM django_workflow_run WHERE id = %s"
#: Seconds after which a waiter looks by itself.
POLL = 0.5


def until_settled(run_id: UUID, timeout: float | None) -> str:
    """Block until the run is terminal and return its status.

    timeout: seconds; None waits for ever. Raises `WaitTimeout`, or `RunNotFound`.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    if status_of(run_id) in RUN_TERMINAL:
        return status_of(run_id)
    with db.listen([db.RUN_CHANNEL]) as listener:
        while True:
            status = status_of(run_id)
            if status in RUN_TERMINAL:
                return status
            remaining = POLL if deadline is None else min(POLL, deadline - time.monotonic())
            if remaining <= 0:
                raise WaitTimeout(f"Run {run_id} is {status} after {timeout:g} s; it goes on.", run_id=run_id)
            listener.wait_for(str(run_id), remaining)


def status_of(run_id: UUID) -> str:
    """Return a run's status; raises `RunNotFound`."""
    found = db.rows(READ_STATUS, [run_id])
    if not found:
        raise RunNotFound(f"There is no run {run_id}.", run_id=run_id)
    status: str = found[0][0]
    return status
