"""Arrivals at joins that come at once, where a run goes round or runs apart."""

from __future__ import annotations

import pytest

from django_workflow import Flow, Otherwise, To, When
from django_workflow.models import Arrival, StepRun
from tests.defaults import defaults
from tests.races.verbs import assert_nothing_is_left_open, succeed, take

WAIT = 10_000
PASSES = 3


@pytest.fixture
def rounds(unique):
    """A fork and its join, several times."""
    flow = Flow(unique("rounds"), entry=["begin"])
    flow.step(name="begin", next=["left", "right"])(lambda: None)
    flow.step(name="left", next="meet")(lambda: None)
    flow.step(name="right", next="meet")(lambda: None)
    flow.step(name="meet", join="all", next=[When(f"iteration < {PASSES}", to="begin"), Otherwise("end")])(lambda: None)
    flow.step(name="end")(lambda: None)
    return flow


def at_once(session, one, two):
    """Let two sessions settle a task each, the second while the first has not committed."""
    first, second = session(), session()
    first.begin()
    first.do(succeed, one)
    settling = second.start_and_block(succeed, two, wait_ms=WAIT)
    first.commit()
    settling.result(5)


@pytest.mark.guard("run_is_locked_first")
def test_the_last_arrivals_at_a_join_in_a_loop_at_once_activate_it_once_in_each_pass(rounds, session):
    run = rounds.start()
    for number in range(1, PASSES + 1):
        succeed(*take())
        at_once(session, *take())
        activations = StepRun.objects.filter(run_id=run.id, step="meet").order_by("iteration")
        assert list(activations.values_list("iteration", flat=True)) == list(range(1, number + 1))
        (task,) = take()
        succeed(task)
    succeed(*take())
    assert run.status == "succeeded"
    assert Arrival.objects.filter(run_id=run.id, step="meet").count() == 2 * PASSES
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_two_arrivals_at_a_split_at_once_open_one_scope(unique, session):
    flow = Flow(unique("apart"))
    flow.step(name="left", next="split")(lambda: None)
    flow.step(name="right", next="split")(lambda: None)
    flow.step(name="split")(lambda: None)
    run = flow.start()
    at_once(session, *take())
    activations = StepRun.objects.filter(run_id=run.id, step="split").order_by("id")
    first, second = activations.values_list("id", "scope", "iteration")
    assert (first[1:], second[1:]) == ((0, 1), (second[0], 1))
    succeed(*take())
    assert run.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("own_transactions_are_read_committed")
def test_the_last_arrivals_at_a_join_are_seen_where_the_database_is_repeatable_read_by_default(unique, session):
    flow = Flow(unique("fork"), entry=["left", "right"])
    flow.step(name="left", next="meet")(lambda: None)
    flow.step(name="right", next="meet")(lambda: None)
    flow.step(name="meet", join="all")(lambda: None)
    run = flow.start()
    tasks = take()
    with defaults(default_transaction_isolation="repeatable read"):
        at_once(session, *tasks)
    succeed(*take())
    assert run.status == "succeeded"
    assert_nothing_is_left_open()


@pytest.mark.guard("run_is_locked_first")
def test_what_two_branches_publish_at_once_is_known_behind_their_join(unique, session):
    flow = Flow(unique("writers"), output={"x": "vars.x", "y": "vars.y", "last": "vars.last"}, vars={"x": 0, "y": 0})
    flow.step(name="left", next=To("meet", publish={"x": "1", "last": "'left'"}))(lambda: None)
    flow.step(name="right", next=To("meet", publish={"y": "2", "last": "'right'"}))(lambda: None)
    flow.step(name="meet", join="all")(lambda: None)
    run = flow.start()
    tasks = sorted(take(), key=lambda task: task.step.name)
    at_once(session, *tasks)
    succeed(*take())
    assert run.result().output == {"x": 1, "y": 2, "last": "right"}
    assert_nothing_is_left_open()
