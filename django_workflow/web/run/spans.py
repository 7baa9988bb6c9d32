"""How long steps and tasks ran, and how long they waited for that: for a worker, a place, or their next attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django_workflow.read.run.facts import Facts
from django_workflow.read.run.steps import StepFacts
from django_workflow.read.run.tasks import TaskFacts
from django_workflow.statuses import HELD, QUEUED, RUNNING, SUSPENDED

ZERO = timedelta(0)


@dataclass(frozen=True, slots=True)
class Span:
    """Two lengths of time that make the whole; None where nobody waited, or nothing began.

    runs_since, waits_since: where it grows, since when it would have lasted so long at one stretch, the same each time
    it is asked. A paused run's waiting does not grow.
    """

    ran: timedelta | None = None
    waited: timedelta | None = None
    runs_since: datetime | None = None
    waits_since: datetime | None = None

    @property
    def whole(self) -> timedelta:
        """Both together."""
        return (self.ran or ZERO) + (self.waited or ZERO)


NOTHING = Span()


def of_task(facts: Facts, task: TaskFacts) -> Span:
    """Return how long a task ran, all its attempts together, and how long it waited before and between them."""
    if task.origin:
        return NOTHING
    tries = [item for item in task.all_tries if item.begun_at is not None]
    runs_on = task.status == RUNNING and task.begun_at is not None
    last = task.ended_at or facts.run.ended_at or (facts.now if runs_on else facts.clock)
    ran = sum(((item.ended_at or last) - item.begun_at for item in tries if item.begun_at is not None), ZERO)
    waits = task.status in (QUEUED, HELD, SUSPENDED) or (task.status == RUNNING and not runs_on)
    waits = waits and facts.clock == facts.now
    return Span(
        ran=max(ran, ZERO) if tries else None,
        waited=max(last - task.created_at - ran, ZERO),
        runs_since=last - ran if runs_on else None,
        waits_since=task.created_at + ran if waits else None,
    )


def of_step(facts: Facts, step: StepFacts) -> Span:
    """Return how long a step ran since a worker began its first task, and how long it waited for that.

    Of a step without items that runs once: the same of its task.
    """
    if step.started_at is None or facts.is_carried(step):
        return NOTHING
    task = facts.task_of_pass.get(step.id or 0)
    if task is not None and not step.is_map:
        return of_task(facts, task)
    end = step.ended_at or (facts.now if step.tally.running else facts.clock)
    goes_on = step.ended_at is None and end == facts.now
    if step.begun_at is None:
        if step.is_settled:
            return NOTHING  # it had nothing to do
        waited = max(end - step.started_at, ZERO)
        return Span(waited=waited, waits_since=step.started_at if goes_on else None)
    waited = max(step.begun_at - step.started_at, ZERO)
    return Span(max(end - step.begun_at, ZERO), waited, runs_since=step.begun_at if goes_on else None)
