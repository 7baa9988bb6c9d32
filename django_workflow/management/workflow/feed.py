"""Reading what happened, and what goes on happening: events in the order of their commits, lines of logs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from django_workflow import statuses
from django_workflow.events.stored import follow
from django_workflow.models import Event, Run, TaskLog
from django_workflow.read.run import history
from django_workflow.read.run.waiting import status_of
from django_workflow.worker.logs.writer import FLUSH_EVERY

#: Seconds between two looks whether the run has settled, and for lines: nobody is told of those.
LOOK = 0.5
#: Seconds until what was logged at a run's end has been stored; workers write it a little later.
LINGER = 2 * FLUSH_EVERY
#: Lines become visible in another order than that of their ids: so many are read again.
OVERLAP = 1_000


def follow_events(run: Run | None, types: Sequence[str] | None, limit: int) -> Iterator[Event]:
    """Return the last events and then new ones as they come; those of a run end with it."""
    run_id = run.pk if run is not None else None
    with follow(run, types, timeout=LOOK) as following:
        past = history.past_events(run_id, types or (), limit)
        yield from past
        seen = {event.pk for event in past}
        last = past[-1].number if past else 0
        while True:
            # in this order: what was written before the end is read after the end was seen
            is_settled = run_id is not None and status_of(run_id) in statuses.RUN_TERMINAL
            for event in following:
                if event.pk not in seen:
                    last = event.number
                    yield event
            if is_settled and run_id is not None:
                # whether anybody was notified of them or not
                yield from history.later_events(run_id, types or (), last)
                return


def follow_lines(run: Run, lines: Any, limit: int) -> Iterator[TaskLog]:
    """Return the last of some lines and then new ones as they come, until the run has settled.

    lines: those wanted, newest first.
    """
    seen = set(lines.values_list("pk", flat=True)[:OVERLAP])
    past = list(lines[:limit])[::-1]
    seen.update(line.pk for line in past)
    yield from past
    ended_at = None
    while True:
        newest = max(seen, default=0)
        if ended_at is None and status_of(run.pk) in statuses.RUN_TERMINAL:
            ended_at = time.monotonic()
        found = [line for line in lines.filter(pk__gt=newest - OVERLAP).order_by("pk") if line.pk not in seen]
        yield from found
        seen = {pk for pk in seen if pk > newest - OVERLAP} | {line.pk for line in found}
        if not found:
            if ended_at is not None and time.monotonic() - ended_at > LINGER:
                return
            time.sleep(LOOK)
