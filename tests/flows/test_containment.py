"""Whatever code that is called by name raises: it is that code's error, and nobody else's end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from django_workflow import Retry, When, permissions, testing
from django_workflow.definition import containment
from django_workflow.exceptions import WorkflowError
from django_workflow.models import Attempt, FlowDefinition, Task

ENDS = [SystemExit(3), GeneratorExit(), asyncio.CancelledError("stop")]
ONCE = Retry(max_attempts=1)


class Mute(BaseException):
    """An error that ends the process of whoever wants to know its text."""

    def __str__(self):
        raise SystemExit(4)


def raising(error):
    def raises(*args, **kwargs):
        raise error

    return raises


def named(error):
    """A condition that takes no arguments."""

    def raises():
        raise error

    return raises


@pytest.mark.parametrize("error", [*ENDS, Mute()], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", ["step", "transition", "entry"])
def test_a_condition_that_wants_to_end_the_process_fails_its_run(flow, make_flow, run, error, place):
    ran = []
    if place == "entry":
        flow.step(name="second", when=named(error))(lambda: None)
    else:
        flow.step(name="first", next=When(named(error), "second") if place == "transition" else None)(
            lambda: ran.append(1)
        )
        if place == "transition":
            flow.step(name="second")(lambda: None)
        else:
            flow.step(name="second", depends_on=["first"], when=named(error))(lambda: None)
    calm = make_flow()
    calm.step(name="only")(lambda: "calm")
    beside = calm.start()
    result = run(flow)
    assert (result.status, result.error["class"]) == ("failed", "ExpressionError")
    assert f"raised {type(error).__name__}" in result.error["message"]
    assert ran == ([1] if place != "entry" else [])
    testing.run_until_idle()
    assert beside.result()["only"] == "calm"


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
def test_a_strategy_that_wants_to_end_the_process_fails_its_step(flow, run, error):
    @flow.step(retry=Retry(strategy=raising(error)))
    def only():
        raise ValueError("no")

    result = run(flow)
    assert result.status == "failed"
    assert result.error["class"].endswith(type(error).__name__)
    assert result.error["message"].startswith("the retry strategy of step 'only': ")
    assert result.error["message"].endswith("; its handler had failed with ValueError: no")
    attempt = Attempt.objects.get(run_id=result.run_id)
    assert attempt.outcome == "failed"
    assert 'raise ValueError("no")' in attempt.traceback


def test_a_strategy_that_gives_no_time_fails_its_step_alone(flow, make_flow, db):
    @flow.step(retry=Retry(strategy=lambda failures: "soon"))
    def only(ctx):
        ctx.emit("tried")
        raise ValueError("no")

    calm = make_flow()
    calm.step(name="only")(lambda: "calm")
    handles = [flow.start(), calm.start()]
    testing.run_until_idle()
    assert [handle.status for handle in handles] == ["failed", "succeeded"]


def test_what_a_handler_raises_may_have_no_text(flow, run):
    flow.step(name="only", retry=ONCE)(raising(Mute()))
    result = run(flow)
    assert result.error["message"] == "<its text cannot be made: SystemExit>"


def test_a_task_of_a_coroutine_that_wants_to_end_the_process_fails_its_attempt(flow, run):
    async def ends():
        raise SystemExit(3)

    @flow.step(retry=ONCE)
    async def only():
        await asyncio.create_task(ends())

    result = run(flow)
    assert (result.status, result.error["class"]) == ("failed", "SystemExit")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)], ids=lambda error: type(error).__name__)
@pytest.mark.django_db(transaction=True)
def test_what_an_atomic_step_does_after_its_commit_changes_its_success_no_more(flow, workflow_queues, error):
    @flow.step(atomic=True, retry=ONCE)
    def only():
        transaction.on_commit(raising(error))
        return "stored"

    flow.step(name="next", depends_on=["only"])(lambda only: only)
    result = flow.execute()
    assert (result.status, result["next"]) == ("succeeded", "stored")
    assert not Attempt.objects.filter(run_id=result.run_id).exists()


@pytest.fixture
def sigint():
    """Python's own answer to Ctrl-C: a process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_operator_who_interrupts_a_condition_gets_the_interrupt(flow, sigint, db):
    flow.step(name="only", when=named(KeyboardInterrupt()))(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        flow.start()
    assert not Task.objects.filter(run__flow__slug=flow.slug).exists()


def test_elsewhere_a_keyboard_interrupt_is_as_good_as_any_error(flow, monkeypatch, db):
    # as in a worker, whose signals have handlers of their own
    monkeypatch.setattr(containment.signal, "getsignal", lambda number: lambda *args: None)
    flow.step(name="only", when=named(KeyboardInterrupt()))(lambda: None)
    handle = flow.start()
    assert (handle.status, handle.result().error["class"]) == ("failed", "ExpressionError")


def test_a_rule_of_the_sites_that_wants_to_end_the_server_ends_the_request(flow, settings, db):
    settings.DJANGO_WORKFLOW = {"OBJECT_PERMISSION": raising(SystemExit(3))}
    flow.step(name="only")(lambda: None)
    flow.start()
    user = User.objects.create_superuser("somebody")
    with pytest.raises(WorkflowError, match="OBJECT_PERMISSION raised SystemExit: 3"):
        permissions.may(user, permissions.VIEW, FlowDefinition.objects.get(slug=flow.slug))


def leaves_a_transaction_open():
    transaction.atomic().__enter__()
    User.objects.create_user("undone")


def swallows_a_failed_statement():
    User.objects.create_user("undone")
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing_of_the_kind")


def asks_for_a_rollback():
    User.objects.create_user("undone")
    transaction.set_rollback(True)


BREAKS = [leaves_a_transaction_open, swallows_a_failed_statement, asks_for_a_rollback]


@pytest.mark.parametrize("breaks", BREAKS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("place", ["condition", "strategy"])
@pytest.mark.django_db(transaction=True)
def test_what_breaks_the_engines_transaction_fails_alone(flow, make_flow, drain, breaks, place):
    def condition(outputs):
        breaks()
        return True

    def strategy(attempt):
        breaks()
        return timedelta(0)

    retry = Retry(max_attempts=2, strategy=strategy) if place == "strategy" else ONCE
    flow.step(name="first", retry=retry)(lambda: 1 / 0 if place == "strategy" else 1)
    flow.step(name="second", depends_on=["first"], when=condition)(lambda: 2)
    calm = make_flow()
    calm.step(name="only")(lambda: "calm")
    beside = calm.start_many([None] * 3)
    broken = flow.start()
    beside += calm.start_many([None] * 3)
    drain()
    assert "broke the transaction that it was called in" in testing.assert_settled(broken, "failed").error["message"]
    for handle in beside:
        testing.assert_settled(handle)
    assert not User.objects.filter(username="undone").exists()
    assert set(Task.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.django_db(transaction=True)
def test_a_condition_may_read_and_write_the_database(flow, drain):
    def condition():
        with transaction.atomic():
            User.objects.create_user("kept")
        return User.objects.exists()

    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"], when=condition)(lambda: 2)
    handle = flow.start()
    drain()
    assert testing.assert_settled(handle)["second"] == 2
    assert User.objects.filter(username="kept").exists()


@pytest.mark.django_db(transaction=True)
def test_a_process_that_a_condition_forks_does_not_settle_a_second_time(flow, drain):
    children = []

    def condition():
        children.append(os.fork())
        return True

    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"], when=condition)(lambda: 2)
    handle = flow.start()
    drain()
    assert os.waitpid(children[0], 0)[1] == 0
    assert testing.assert_settled(handle)["second"] == 2
