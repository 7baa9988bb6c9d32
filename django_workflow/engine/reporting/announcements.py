"""Telling the site of runs that ended: receivers of the signals, and `on_failure=` of their flow.

At most once: the commit that ended a run comes first, and whoever dies after it tells nobody.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.dispatch import Signal

from django_workflow import db
from django_workflow.conf import conf
from django_workflow.definition.containment import leave_to_operator, log_anyway
from django_workflow.definition.registry import DeclaredFlow, registry
from django_workflow.models import Run
from django_workflow.signals import run_ended, run_failed
from django_workflow.statuses import FAILED, TIMED_OUT

logger = logging.getLogger("django_workflow")

#: Statuses of runs that came to no good by themselves: a cancelled one was ended by somebody who knows.
BAD = frozenset({FAILED, TIMED_OUT})
#: Runs that ended, with the status of each.
Ended = Mapping[UUID, str]
#: Takes ended runs to tell of them elsewhere; the last one is used. A worker has a thread for it: receivers may wait
#: for a mail server, and nothing that keeps a worker alive waits for receivers.
sinks: list[Callable[[Ended], None]] = []


def _nothing() -> None:
    pass


def is_asked_for(status: str) -> bool:
    """Say whether anybody may want to hear of a run that ended so: nobody reads runs that nobody asks for."""
    return status in BAD or bool(run_ended.receivers)


def announce(ended: Ended) -> None:
    """Tell of runs that ended, in a worker by its thread, elsewhere here and now."""
    if ended:
        (sinks[-1] if sinks else tell_of)(ended)


def tell_of(ended: Ended, *, mend: Callable[[], None] = _nothing) -> None:
    """Call all who want to hear of these runs; whatever they raise is logged and changes nothing.

    mend: is called before each receiver and at the end, where each is to find connections as new.
    """
    asked = [run_id for run_id, status in ended.items() if run_ended.receivers or _is_bad_and_asked_for(status)]
    mend()
    for run in _read(asked):
        flow = registry.find_flow(run.flow.slug)
        if run.status in BAD:
            _send(run_failed, flow, run, mend=mend)
            for function in flow.on_failure if flow is not None else ():
                _call(function, "on_failure=", run_failed, flow, run, mend=mend)
        _send(run_ended, flow, run, mend=mend)
    mend()


def _is_bad_and_asked_for(status: str) -> bool:
    return status in BAD and bool(run_failed.receivers or any(flow.on_failure for flow in registry.flows()))


def _read(run_ids: Sequence[UUID]) -> list[Run]:
    if not run_ids:
        return []
    try:
        runs = Run.objects.using(conf.DATABASE).filter(pk__in=run_ids).select_related("flow")
        # a storm of runs comes with as many inputs, which a receiver may still ask for
        return list(runs.defer("input", "output").order_by("ended_at", "pk"))
    except Exception as error:
        told = db.for_logs(error)
        logger.warning("%d runs ended, and no signal tells of them: %s", len(run_ids), told)  # not its text
        return []


def _send(signal: Signal, flow: DeclaredFlow | None, run: Run, *, mend: Callable[[], None]) -> None:
    """Send a signal to each receiver by itself, so that none leaves the next one a broken connection."""
    # `send_robust` has nothing that runs between two receivers, gathers coroutines in one go, and lets a receiver's
    # SystemExit end the others; who they are is in no public method
    for receivers in signal._live_receivers(flow):  # noqa: SLF001  those that are functions, those that are coroutines
        for receiver in receivers:
            _call(receiver, "a receiver of a signal", signal, flow, run, mend=mend)


def _call(
    function: Callable[..., Any],
    what: str,
    signal: Signal,
    flow: DeclaredFlow | None,
    run: Run,
    *,
    mend: Callable[[], None],
) -> None:
    """Call a receiver, and await what it returns if that is awaitable."""
    with _contained(what, run):
        mend()
    with _contained(what, run), _apart_in_a_test():
        answer = function(signal=signal, sender=flow, run=run)
        if inspect.isawaitable(answer):
            async_to_sync(_await)(answer)


async def _await(answer: Awaitable[Any]) -> None:
    await answer


@contextmanager
def _apart_in_a_test() -> Iterator[None]:
    """In the transaction of a test, let a statement that fails in the block break nothing behind it.

    Elsewhere each statement of a receiver is a transaction of its own, so what succeeds stays.
    """
    if not db.in_test_transaction():
        yield
        return
    wrapper = db.connection()
    savepoint = wrapper.savepoint()
    assert savepoint is not None  # there is a transaction
    try:
        yield
    finally:
        if db.has_failed():
            wrapper.needs_rollback = False
            wrapper.savepoint_rollback(savepoint)
        else:
            wrapper.savepoint_commit(savepoint)


@contextmanager
def _contained(what: str, run: Run) -> Iterator[None]:
    """Log whatever the block raises: the run has ended, and others want to hear of it."""
    try:
        yield
    except BaseException as error:
        leave_to_operator(error)
        fields = {"flow": run.flow.slug, "run_id": str(run.pk)}
        log_anyway(logger.exception, "%s failed for a run of %s", what, run.flow.slug, extra=fields)
