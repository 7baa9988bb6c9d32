"""The commands noop, continue, fail and retry, and failures that no transition handles."""

import pytest

from django_workflow import To, When
from django_workflow.statuses import FAILED, SUCCEEDED
from tests.engine.interpreter import FAILS
from tests.engine.played.playing import known_to, play, step


def test_noop_handles_a_failure():
    assert play(step("a", To("noop", on="failed")), a=FAILS).status == SUCCEEDED


@pytest.mark.parametrize(("end", "status"), [(FAILS, FAILED), ("x", SUCCEEDED)])
def test_continue_lets_the_outcome_stand(end, status):
    done = play(step("a", To("continue", on="always")), a=end)
    assert done.status == status
    assert status == SUCCEEDED or done.error == {"step": "a", "class": "Error", "message": "no"}


def test_fail_ends_the_run_and_nothing_starts():
    done = play(step("a", "b", To("fail")), step("b"))
    assert (done.status, done.times) == (FAILED, {"a": 1})
    assert done.error == {"step": "a", "class": "FailCommand", "message": "step 'a' leads to fail"}


def test_fail_after_a_failure_tells_of_that_one():
    assert play(step("a", To("fail", on="failed")), a=FAILS).error["class"] == "Error"


def test_retry_does_the_same_step_again():
    ends = iter([FAILS, FAILS, 7])
    done = play(step("a", To("retry", on="failed"), "b"), step("b"), a=lambda item: next(ends))
    assert (done.status, done.times, done.outputs["a"]) == (SUCCEEDED, {"a": 3, "b": 1}, 7)
    assert [item.iteration for item in done.made if item.step.name == "a"] == [1, 2, 3]


def test_a_retry_that_publishes_and_waits():
    again = When("iteration < 3", to="retry", publish={"tries": "iteration"}, delay="vars.tries * 10")
    done = play(step("a", again))
    assert [(item.delay, known) for item, known in zip(done.made, known_to(done, "a"), strict=True)] == [
        (0.0, {}), (10.0, {"tries": 1}), (20.0, {"tries": 2}),
    ]  # fmt: skip


def test_a_failure_that_only_another_outcome_handles_fails_the_run():
    done = play(step("a", "b", To("noop", on="skipped")), step("b"), a=FAILS)
    assert (done.status, done.times) == (FAILED, {"a": 1})


def test_a_failure_whose_conditions_do_not_hold_is_not_handled():
    assert play(step("a", When("error['class'] == 'Other'", to="noop", on="failed")), a=FAILS).status == FAILED
