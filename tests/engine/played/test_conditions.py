"""Conditions are decided in each pass, and an error in one fails the run and names its place."""

import pytest

from django_workflow import Otherwise, To, When
from django_workflow.statuses import FAILED, SKIPPED, SUCCEEDED
from tests.engine.played.playing import each, play, step


def test_an_error_in_a_condition_names_step_transition_and_expression():
    done = play(step("a", "b", When("result.nope > 1", to="b")), step("b"), a={"x": 1})
    assert (done.status, done.times) == (FAILED, {"a": 1})
    assert done.error["step"] == "a"
    assert done.error["message"].startswith("condition of transition 2 of step 'a': ")
    assert "result.nope > 1" in done.error["message"]


def test_an_error_in_what_is_published_names_step_and_transition():
    done = play(step("a", "b", To("b", publish={"x": "result.nope"})), step("b"), a={})
    assert done.error["message"].startswith("publish of transition 2 of step 'a': ")


def test_an_error_in_a_condition_is_not_caught_by_a_transition():
    done = play(step("a", When("result.nope", to="b"), To("b", on="failed")), step("b"), a={})
    assert (done.status, done.times) == (FAILED, {"a": 1})


def test_a_condition_of_a_way_may_be_a_function():
    done = play(step("a", When(lambda result, iteration: result == iteration, to="b")), step("b"), a=1)
    assert done.times["b"] == 1


def test_a_step_in_a_loop_is_skipped_in_passes_whose_condition_does_not_hold():
    done = play(
        step("a", "b"), step("b", To("a", on="always"), when="outputs.a != 3 and outputs.a < 5"),
        entry=["a"], a=lambda item: item.iteration, limits={"max_iterations": 5},
    )  # fmt: skip
    assert [done.state.ended[key] for key, item in done.state.step_runs.items() if item.step.name == "b"] == [
        SUCCEEDED, SUCCEEDED, SKIPPED, SUCCEEDED, SKIPPED,
    ]  # fmt: skip


def test_a_condition_that_fails_its_step_is_an_outcome_that_can_be_handled():
    done = play(step("a", To("b", on="failed"), when="false", on_unmet="fail"), step("b"))
    assert (done.status, done.steps) == (SUCCEEDED, {"a": FAILED, "b": SUCCEEDED})


def test_a_map_takes_its_items_from_variables_of_its_own_pass():
    done = play(
        each("a", When("len(result) > 1", to="a", publish={"todo": "vars.todo[1:]"}), over="vars.todo"),
        vars={"todo": [1, 2, 3]},
    )  # fmt: skip
    assert [item.items for item in done.made] == [[1, 2, 3], [2, 3], [3]]


@pytest.mark.parametrize("unmet", ["skip", "fail"])
def test_what_an_earlier_pass_gave_is_not_what_a_step_gives_that_does_not_run_in_this_one(unmet):
    done = play(
        step("top", To("source", publish={"n": "vars.n + 1"})),
        step("source", To(["each", "seen", "unseen"], on="always"), when="vars.n < 2", on_unmet=unmet),
        each("each", When("vars.n < 2", to="top"), over="source"),
        step("seen", when="outputs.source == [1, 2]"), step("unseen", when="outputs.source is None"),
        entry=["top"], vars={"n": 0}, source=[1, 2],
    )  # fmt: skip
    assert [item.task_count for item in done.made if item.step.name == "each"] == [2, 0]
    assert [done.state.ended[item.id] for item in done.made if item.step.name == "seen"] == [SUCCEEDED, SKIPPED]
    assert [done.state.ended[item.id] for item in done.made if item.step.name == "unseen"] == [SKIPPED, SUCCEEDED]


def test_an_empty_map_in_a_loop_does_not_hide_what_an_earlier_pass_gave():
    done = play(
        each("a", When("len(result) > 0", to="a", publish={"todo": []}), Otherwise("b"), over="vars.todo"),
        step("b", when="outputs.a == []"), vars={"todo": [1]},
    )  # fmt: skip
    assert (done.times, done.steps["b"]) == ({"a": 2, "b": 1}, SUCCEEDED)
