"""Helpers for tests of a site's flows: run what is queued, move time, clean up, assert.

All of them work inside the transaction of `django.test.TestCase` and pytest's `db` fixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django_workflow import arguments, db, queue
from django_workflow.conf import conf
from django_workflow.engine.due import arrivals, deadlines, delayed_tasks, scheduled_runs
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.stored import versions
from django_workflow.engine.tasks import claim
from django_workflow.engine.tasks.outcome import Outcome, lost
from django_workflow.models import StepRun
from django_workflow.runs import AnyRun, RunResult, handle
from django_workflow.statuses import SUCCEEDED
from django_workflow.worker.local import WAIT_MS, perform

#: Seconds of the leases under which tasks are executed here.
LEASE = 60.0


def run_until_idle(*, limit: int = 10_000) -> int:
    """Execute queued tasks of all queues in this thread until none is due.

    limit: attempts after which the test is thought to run in circles.
    Returns how many attempts were made. Tasks that wait for a later time stay; see `advance`.
    """
    limit = arguments.whole(limit, "limit=")
    done = 0
    while True:
        delayed_tasks.send_due_tasks()
        scheduled_runs.begin_due()
        arrivals.arrive_due()
        before = done
        for name in queue.existing():
            for task in claim.claim(name, 100, slots=100, lease=LEASE):
                done += 1
                if done > limit:
                    raise AssertionError(f"more than {limit} attempts were made; does a step start itself for ever?")
                if task.is_lost and task.fence not in settle([lost(task, LEASE)], wait_ms=WAIT_MS).may_begin:
                    continue
                result = perform(task)
                if isinstance(result, Outcome):
                    settle([result], wait_ms=WAIT_MS)
        if done == before:
            return done


# a paused run's clock stands still, as in `pause`: what remains of its delays and of its life is kept. Only the time
# for which a run was scheduled is one on the calendar, and comes in a pause, too
MOVE = (
    "UPDATE django_workflow_task SET due_at = due_at - %s::interval WHERE due_at IS NOT NULL AND status = 'queued'",
    """
    UPDATE django_workflow_arrival a SET due_at = a.due_at - %s::interval
    FROM django_workflow_run r WHERE r.id = a.run_id AND a.generation IS NULL AND r.status <> 'paused'
    """,
    "UPDATE django_workflow_run SET due_at = due_at - %s::interval WHERE started_at IS NULL AND ended_at IS NULL",
    """
    UPDATE django_workflow_run SET deadline_at = deadline_at - %s::interval
    WHERE ended_at IS NULL AND status <> 'paused'
    """,
)


def advance(time: timedelta) -> None:
    """Let `time` pass for the engine: due times and deadlines move backwards, the clock stays.

    A paused run keeps what remains of its delays and until its deadline, as it does when real time passes.
    Overdue runs are ended; execute what became due with `run_until_idle`.
    """
    arguments.duration(time, "advance()")
    for statement in MOVE:
        db.execute(statement, [time])
    for name in queue.existing():
        queue.advance(name, time)
    deadlines.end_overdue_runs()


def clean_queues() -> None:
    """Delete all messages; Django's flush empties the tables of models and leaves the queues."""
    for name in queue.existing():
        queue.purge(name)
    versions.published.forget()


def assert_settled(run: AnyRun, status: str = SUCCEEDED, *, steps: Mapping[str, str] | None = None) -> RunResult:
    """Assert how a run ended and return its result.

    status: the run's expected status. steps: expected status by step, for the steps that matter.
    The message of a failure tells what every step came to.
    """
    steps = arguments.by_name(steps, "steps=")
    result = handle(run).result()
    states = statuses_of(run)
    wrong = {name: (states.get(name), wanted) for name, wanted in steps.items() if states.get(name) != wanted}
    if result.status != status or wrong:
        lines = [f"run {result.run_id} is {result.status}, expected {status}"]
        lines += [f"step {name!r} is {found}, expected {wanted}" for name, (found, wanted) in wrong.items()]
        lines += [f"error: {error}" for error in result.errors]
        raise AssertionError("\n".join([*lines, f"all steps: {states}"]))
    return result


def statuses_of(run: AnyRun) -> dict[str, str]:
    """Return the status of each step's latest activation."""
    rows: Any = StepRun.objects.using(conf.DATABASE).filter(run_id=handle(run).id).order_by("step", "iteration")
    return dict(rows.values_list("step", "status"))
