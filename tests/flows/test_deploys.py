"""A deploy while runs are in flight: a handler gets what today's code asks for, of what the run's version has."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group

from django_workflow import Retry, testing
from django_workflow.definition.registry import registry
from django_workflow.models import Attempt, Task

LARGE = "x" * 50_000


@pytest.fixture
def deploy(flow):
    """Let the code of this process be that of another release."""

    def replace(step, handler, **declared):
        registry.add_handler(f"{flow.slug}.{step}", handler, **declared)

    return replace


def coroutine(handler):
    async def awaits(input):
        return handler(input)

    return awaits


@pytest.mark.parametrize("value", ["x", LARGE, None], ids=["small", "large", "null"])
@pytest.mark.parametrize("kind", [lambda handler: handler, coroutine], ids=["plain", "coroutine"])
def test_a_handler_that_asks_for_the_input_since_a_deploy_gets_it(flow, deploy, db, value, kind):
    flow.step(name="only")(lambda: "old")
    handle = flow.start(value)
    deploy("only", kind(lambda input: [input]))
    testing.run_until_idle()
    assert handle.result()["only"] == [value]


def test_a_handler_that_asks_for_an_output_since_a_deploy_gets_it(flow, deploy, db):
    flow.step(name="first")(lambda: LARGE)
    flow.map(name="second", count=2, depends_on=["first"])(lambda: None)
    handle = flow.start()
    deploy("second", lambda index, first: [index, len(first)])
    testing.run_until_idle()
    assert handle.result()["second"] == [[0, len(LARGE)], [1, len(LARGE)]]


def test_an_output_that_is_not_there_arrives_as_the_default(flow, deploy, db):
    flow.step(name="first", next="third")(lambda: 1)
    flow.step(name="second", depends_on=["first"], when="false")(lambda: 2)
    flow.step(name="third")(lambda: 3)
    handle = flow.start()
    deploy("third", lambda first, second="skipped", third="itself", nowhere="unknown": [first, second, third, nowhere])
    testing.run_until_idle()
    assert handle.result()["third"] == [1, "skipped", "itself", "unknown"]


def test_what_a_step_gives_as_an_argument_is_no_output(flow, deploy, db):
    flow.step(name="first")(lambda: "output")
    flow.step(name="second", depends_on=["first"], arguments={"first": "'argument'"})(lambda first: first)
    handle = flow.start()
    deploy("second", lambda first, input: [first, input])
    testing.run_until_idle()
    assert handle.result()["second"] == ["argument", None]


def test_a_step_of_a_later_version_gave_nothing(flow, make_flow, deploy, db):
    flow.step(name="only")(lambda: None)
    handle = flow.start()
    later = type(flow)(flow.slug)
    later.step(name="only")(lambda ctx: [ctx.output("added"), ctx.skipped("added"), ctx.failures("added")])
    later.step(name="added")(lambda: 1)
    later.start()
    testing.run_until_idle()
    assert handle.result()["only"] == [None, False, []]


def test_a_step_of_no_version_is_a_mistake(flow, db):
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda ctx: ctx.output("added"))
    handle = flow.start()
    testing.run_until_idle()
    assert "has no step 'added'" in handle.result().error["message"]


def test_a_condition_may_ask_for_a_step_of_a_later_version(flow, db):
    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"], when=lambda outputs: outputs["first"] == 1)(lambda: 2)
    handle = flow.start()
    later = type(flow)(flow.slug)
    later.step(name="first")(lambda: 1)
    later.step(name="added", depends_on=["first"])(lambda: 1)
    later.step(name="second", depends_on=["added"], when=lambda outputs: outputs["added"] is None)(lambda: 2)
    assert later.spec
    testing.run_until_idle()
    assert handle.result()["second"] == 2


def test_an_atomic_step_that_is_a_coroutine_now_stays_atomic(flow, deploy, run, unique):
    name = unique("group")
    flow.step(name="only", atomic=True, retry=Retry(max_attempts=2, base=timedelta(milliseconds=1)))(lambda: None)

    async def writes(ctx):
        await Group.objects.acreate(name=f"{name} {ctx.attempt}")
        if ctx.attempt == 1:
            raise ValueError("its writes are rolled back")

    deploy("only", writes)
    assert run(flow).is_success
    assert [group.name for group in Group.objects.filter(name__startswith=name)] == [f"{name} 2"]


def test_a_step_that_is_atomic_now_is_so_in_runs_of_then(flow, deploy, db, unique):
    name = unique("group")
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda: None)
    handle = flow.start()

    def writes():
        Group.objects.create(name=name)
        raise ValueError("its writes are rolled back")

    deploy("only", writes, atomic=True)
    testing.run_until_idle()
    assert handle.status == "failed"
    assert not Group.objects.filter(name=name).exists()


def test_code_that_declares_a_step_atomic_says_so_to_runs_of_then(flow):
    flow.step(name="one", atomic=True)(lambda: None)
    flow.step(name="two", executor="process")(lambda: None)
    handlers = [registry.handler(f"{flow.slug}.{name}") for name in ("one", "two")]
    assert [(item.atomic, item.executor) for item in handlers] == [(True, None), (False, "process")]


def test_without_the_strategy_of_then_a_task_waits_as_long_as_its_numbers_say(flow, db):
    retry = Retry(strategy=lambda failures: timedelta(hours=1), base=timedelta(minutes=5), jitter=False)

    @flow.step(retry=retry)
    def only():
        raise ValueError("no")

    handle = flow.start()
    registry._callables.pop(f"{flow.slug}.only.strategy")
    testing.run_until_idle()
    assert Attempt.objects.get(run_id=handle.id).outcome == "failed"
    due = Task.objects.get(run_id=handle.id).due_at - Attempt.objects.get(run_id=handle.id).ended_at
    assert due.total_seconds() == pytest.approx(300, abs=5)
