"""Atomic steps: what the handler writes and what the engine writes commit together or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection

from django_workflow import Fail, Retry, RetryAfter, Skip, cancel, db, testing
from django_workflow.models import Attempt, Run, Task
from django_workflow.worker.jobs import invoke

SOON = timedelta(milliseconds=1)


def groups():
    return list(Group.objects.order_by("pk").values_list("name", flat=True))


def test_writes_of_the_handler_and_its_settle_are_one_transaction(flow, workflow_queues):
    @flow.step(atomic=True)
    def ship(ctx):
        Group.objects.create(name="shipped")
        return [connection.in_atomic_block, db.on_own_connection(groups)]

    assert flow.execute()["ship"] == [True, []]
    assert groups() == ["shipped"]


@pytest.mark.parametrize("outcome", [Fail("no"), RetryAfter(SOON), Skip("no")], ids=["fail", "retry after", "skip"])
def test_only_a_success_keeps_what_was_written(flow, run, outcome):
    @flow.step(atomic=True, retry=Retry(max_attempts=1))
    def ship():
        Group.objects.create(name="shipped")
        return outcome

    run(flow)
    assert groups() == []


def test_failed_attempt_is_rolled_back_and_the_next_one_counts(flow, run):
    @flow.step(atomic=True, retry=Retry(base=SOON))
    def ship(ctx):
        Group.objects.create(name=f"attempt {ctx.attempt}")
        if ctx.attempt < 3:
            raise ValueError

    result = run(flow)
    assert groups() == ["attempt 3"]
    assert Attempt.objects.filter(run_id=result.run_id, outcome="failed").count() == 2


def test_output_that_cannot_be_stored_rolls_back(flow, run):
    @flow.step(atomic=True)
    def ship():
        Group.objects.create(name="shipped")
        return float("nan")

    assert run(flow).status == "failed"
    assert groups() == []


def test_superseded_attempt_is_rolled_back(flow, workflow_queues):
    @flow.step(atomic=True)
    def ship(ctx):
        Group.objects.create(name="shipped")
        db.on_own_connection(lambda: cancel(ctx.run_id))

    assert flow.execute().status == "cancelled"
    assert groups() == []
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.late_outcome) == ("cancelled", "succeeded")


def test_commit_that_fails_fails_the_attempt(flow, workflow_queues):
    @flow.step(atomic=True, retry=Retry(max_attempts=1))
    def ship():
        group = Group.objects.create(name="shipped")
        # the foreign key is checked at the commit
        group.permissions.through.objects.create(
            group_id=group.pk, permission_id=Permission.objects.latest("pk").pk + 1
        )

    result = flow.execute()
    assert (result.status, result.error["class"]) == ("failed", "django.db.utils.IntegrityError")
    assert groups() == []


def test_runs_started_inside_come_with_the_commit_only(flow, make_flow, run):
    child = make_flow()
    child.step(name="only")(lambda: "child")

    @flow.step(atomic=True, retry=Retry(max_attempts=2, base=SOON))
    def ship(ctx):
        handle = child.start(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError
        return str(handle.id)

    result = run(flow)
    assert [str(item.pk) for item in Run.objects.filter(flow__slug=child.slug)] == [result["ship"]]


def test_successor_and_end_of_the_run_come_with_the_commit(flow, workflow_queues):
    @flow.step(atomic=True)
    def ship():
        return "shipped"

    @flow.step
    def after(ship, ctx):
        return db.on_own_connection(lambda: Task.objects.get(run_id=ctx.run_id, step_run__step="ship").status)

    assert flow.execute()["after"] == "succeeded"


def test_atomic_map_commits_item_by_item(flow, run):
    @flow.map(over="input", atomic=True, tolerate=1, retry=Retry(max_attempts=1))
    def each(item):
        Group.objects.create(name=item)
        if item == "bad":
            raise ValueError

    run(flow, ["a", "bad", "c"])
    assert groups() == ["a", "c"]


def test_atomic_settle_is_refused_while_another_session_holds_the_run_for_long(flow, workflow_queues, monkeypatch):
    monkeypatch.setattr(invoke, "ATOMIC_WAIT_MS", 50)
    flow.step(name="ship", atomic=True)(lambda: Group.objects.create(name="shipped").pk)
    handle = flow.start()
    blocker = connection.copy()
    try:
        blocker.set_autocommit(False)
        with blocker.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_workflow_run WHERE id = %s FOR UPDATE", [handle.id])
        (task,) = testing.claim.claim("default", 10, slots=10, lease=60)
        outcome = testing.perform(task)
    finally:
        blocker.rollback()
        blocker.close()
    assert outcome.kind == "released"
    assert not outcome.is_counted
    assert groups() == []
    testing.settle([outcome])
    testing.advance(timedelta(seconds=1))
    testing.run_until_idle()
    assert handle.status == "succeeded"
    assert groups() == ["shipped"]
