"""A run gives its declared output, and what is too large to be stored fails it."""

import pytest

from django_workflow import Otherwise, To, When
from django_workflow.statuses import FAILED, SUCCEEDED
from tests.engine.interpreter import FAILS
from tests.engine.played.playing import play, step


def test_a_declared_output_sees_outputs_input_and_the_variables_of_all_branches():
    done = play(
        step("a", To("noop", publish={"x": "result"})), step("b", To("noop", publish={"y": "result"})),
        output={"x": "vars.x", "y": "vars.y", "a": "outputs.a", "in": "input", "as_it_is": [1]}, input=5, a=1, b=2,
    )  # fmt: skip
    assert done.output == {"x": 1, "y": 2, "a": 1, "in": 5, "as_it_is": [1]}


def test_an_output_that_cannot_be_told_fails_the_run():
    done = play(step("a"), output={"x": "input.nope"})
    assert (done.status, done.error["class"], done.output) == (FAILED, "ExpressionError", None)
    assert done.error["message"].startswith("output of the flow: ")


SMALL = {"max_output": 100}


LARGE = "x" * 60


def test_a_declared_output_that_is_too_large_fails_the_run_and_is_dropped():
    done = play(step("a"), output={"one": "outputs.a", "two": "outputs.a"}, limits=SMALL, a=LARGE)
    assert (done.status, done.error["class"], done.output) == (FAILED, "ExpressionError", None)
    assert done.error["message"] == "output of the flow: 139 bytes of JSON are too many; 100 are allowed"


def test_a_run_that_failed_drops_an_output_that_is_too_large_and_keeps_its_reason():
    done = play(
        step("a", "b"), step("b"), output={"one": "outputs.a", "two": "outputs.a"}, limits=SMALL, a=LARGE, b=FAILS
    )
    assert (done.status, done.error["step"], done.output) == (FAILED, "b", None)


def test_variables_of_a_flow_that_are_too_large_fail_the_run():
    done = play(step("a"), vars={"one": "input", "two": "input"}, limits=SMALL, input=LARGE)
    assert (done.status, done.error["class"], done.made) == (FAILED, "ExpressionError", [])
    assert done.error["message"] == "variables of the flow: 139 bytes of JSON are too many; 100 are allowed"


def test_what_a_way_publishes_is_too_large_with_what_is_known():
    done = play(
        step("a", To("b", publish={"two": "input"})), step("b"), vars={"one": "input"}, limits=SMALL, input=LARGE
    )
    assert (done.status, done.error["step"]) == (FAILED, "a")
    told = "publish of transition 1 of step 'a': 139 bytes of JSON are too many; 100 are allowed"
    assert done.error["message"] == told


@pytest.mark.parametrize("delay", ["0", "60"])
def test_branches_that_know_too_much_together_fail_the_run_where_they_meet(delay):
    done = play(
        step("a", To("meet", publish={"one": "input"}, delay=delay)), step("b", To("meet", publish={"two": "input"})),
        step("meet", join="all"), limits=SMALL, input=LARGE,
    )  # fmt: skip
    assert (done.status, done.error["step"], done.error["class"]) == (FAILED, "meet", "ExpressionError")
    told = "variables for step 'meet': 139 bytes of JSON are too many; 100 are allowed"
    assert done.error["message"] == told


def test_ways_of_one_step_that_know_too_much_together_fail_the_run():
    done = play(
        step("a", To("meet", publish={"one": "input"}), To("meet", publish={"two": "input"})),
        step("b", "meet"), step("meet", join="all"), limits=SMALL, input=LARGE,
    )  # fmt: skip
    assert (done.status, done.error["step"], done.error["class"]) == (FAILED, "a", "ExpressionError")


def test_branches_that_end_with_too_much_fail_the_run():
    done = play(
        step("a", To("noop", publish={"one": "input"})), step("b", To("noop", publish={"two": "input"})),
        output={"x": "1"}, limits=SMALL, input=LARGE,
    )  # fmt: skip
    assert (done.status, done.error["class"], done.output) == (FAILED, "ExpressionError", {"x": 1})
    assert done.error["message"].startswith("variables of the branches that ended: ")


def test_a_branch_that_ends_with_too_much_as_its_step_fails_keeps_the_steps_reason():
    done = play(
        step("a", To("noop", publish={"one": "input"})),
        step("b", To("continue", on="failed", publish={"two": "input"})),
        output={"x": "1"}, limits=SMALL, input=LARGE, b=FAILS,
    )  # fmt: skip
    assert (done.status, done.error["step"], done.output) == (FAILED, "b", {"x": 1})


def test_what_a_last_late_arrival_knows_is_the_runs_too():
    done = play(
        step("a", "meet"), step("b", "late"), step("late", To("meet", publish={"late": "true"})),
        step("meet", join=1), output={"late": "vars.late"},
    )  # fmt: skip
    assert done.output == {"late": True}


def test_what_is_left_over_at_a_join_knows_is_the_runs_too():
    again = When("iteration < 2", to=["a", "meet"])
    done = play(
        step("a", again, Otherwise("meet", publish={"last": "'a'"})), step("b", "meet"), step("meet", join="all"),
        vars={"last": None}, output={"last": "vars.last"},
    )  # fmt: skip
    assert (done.status, len(done.leftovers), done.output) == (SUCCEEDED, 1, {"last": "a"})
