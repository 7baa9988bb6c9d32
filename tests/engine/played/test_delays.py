"""Delays of transitions and steps add up, and a delayed arrival counts when it is due."""

import pytest

from django_workflow import To, When
from django_workflow.statuses import FAILED, SUCCEEDED
from tests.engine.played.playing import known_to, play, step


def test_a_delay_of_a_way_and_that_of_its_step_add_up():
    done = play(step("a", To("b", delay="input")), step("b", delay="input * 2"), input=10)
    assert (done.of("a").delay, done.of("b").delay) == (0.0, 30.0)


def test_an_expression_for_a_delay_sees_what_was_published():
    done = play(step("a", To("b", publish={"wait": "result"}, delay="vars.wait")), step("b"), a=7)
    assert done.of("b").delay == 7.0


@pytest.mark.parametrize("value", [31_536_001, 1e15, 1e300])
def test_a_delay_of_more_than_a_year_fails_the_run_and_names_place_and_limit(value):
    done = play(step("a", To("b", delay="result")), step("b"), a=value)
    assert (done.status, done.error["class"], done.error["step"]) == (FAILED, "ExpressionError", "a")
    assert done.error["message"] == f"delay of transition 1 of step 'a': it may be at most 365 days, not {value!r} s"


def test_a_delay_of_a_year_is_one():
    assert play(step("a", To("b", delay="result")), step("b"), a=31_536_000).of("b").delay == 31_536_000.0


@pytest.mark.parametrize("value", [-1, "soon", True, None, 1e400])
def test_a_delay_that_is_no_number_of_seconds_fails_the_run(value):
    done = play(step("a", To("b", delay="result")), step("b"), a=value)
    if value is None:
        assert done.status == SUCCEEDED
    else:
        assert (done.status, done.error["class"], done.error["step"]) == (FAILED, "ExpressionError", "a")
        assert done.error["message"].startswith("delay of transition 1 of step 'a': ")


def test_a_delayed_arrival_at_a_join_counts_when_it_is_due():
    done = play(step("a", To("meet", delay="60")), step("b", "meet", "c"), step("c"), step("meet", join="all"))
    assert (done.status, done.made[-1].step.name, done.rounds) == (SUCCEEDED, "meet", 6)


def test_a_run_does_not_end_before_a_delayed_arrival():
    done = play(step("a", To("meet", delay="60")), step("b", "meet"), step("meet", join=1))
    assert (done.times["meet"], len(done.state.generations["meet", 0, 1].arrived)) == (1, 2)


def test_a_delayed_arrival_brings_its_variables():
    done = play(step("a", To("meet", delay="60", publish={"x": "1"})), step("b", "meet"), step("meet", join="all"))
    assert known_to(done, "meet") == [{"x": 1}]


def test_delayed_arrivals_in_a_loop_are_counted_in_the_order_in_which_they_are_due():
    again = When("iteration < 3", to="a")
    done = play(
        step("a", "b", "c"), step("b", To("meet", delay="1")), step("c", "meet"), step("meet", again, join="all"),
        entry=["a"],
    )  # fmt: skip
    assert (done.status, done.times["meet"]) == (SUCCEEDED, 3)
