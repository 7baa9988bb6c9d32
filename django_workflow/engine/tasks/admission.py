"""Whether a task may be executed now, and what a worker finds it by. Nothing here asks the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from django_workflow.conf import conf
from django_workflow.statuses import HELD, PARALLEL, PAUSED, QUEUED, RUNNING, SUSPENDED


class Admission(NamedTuple):
    """The status with which a task waits or begins, and why it is held, if it is."""

    status: str
    hold_reason: str = ""


QUEUE = Admission(QUEUED)
TAKE = Admission(RUNNING)
SUSPEND = Admission(SUSPENDED)
HOLD_FOR_PLACE = Admission(HELD, PARALLEL)
HOLD_FOR_RESUME = Admission(HELD, PAUSED)


def admission(
    run_status: str,
    *,
    index: int = 0,
    max_parallel: int | None = None,
    has_handler: bool = True,
    take: Callable[[], bool] | None = None,
) -> Admission:
    """Decide what becomes of a task that has not ended: queued, held, suspended, or taken by the worker that asks.

    index: its place among the tasks of its step run. max_parallel: how many of these may be in flight; None: all.
    has_handler: False where it waits for something else than a worker.
    take: whether the worker that asks takes it at once; asked only where that is possible.
    """
    if max_parallel is not None and index >= max_parallel:
        return HOLD_FOR_PLACE
    if not has_handler:
        return SUSPEND
    if run_status == PAUSED:
        return HOLD_FOR_RESUME
    return TAKE if take is not None and take() else QUEUE


def waits_in_message(delay: float, *, is_local: bool = False) -> bool:
    """Say whether a queued task has a message from the start, with its delay in seconds.

    A delay above a lease waits in the row: many hidden messages at the front of a queue make each read slow. A local
    run has no messages.
    """
    return not is_local and delay <= conf.LEASE.total_seconds()
