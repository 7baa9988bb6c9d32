"""A flow whose expressions are in another language ends by the rules of that language."""

from dataclasses import replace

import pytest

from django_workflow import To, When
from django_workflow.definition.expressions.language import Native
from django_workflow.definition.registry import registry
from django_workflow.statuses import FAILED, SUCCEEDED
from tests.engine.interpreter import FAILS, Play
from tests.engine.played.playing import flow, step


@pytest.fixture
def other():
    """Plays a flow whose expressions are in another language; this one is like the native one."""
    registry.add_callable("language:other", Native())

    def run(*steps, output=None, **results):
        return Play(replace(flow(*steps, output=output), language="other"), results).run()

    return run


def test_elsewhere_siblings_of_fail_still_run_and_nothing_behind_them(other):
    done = other(step("a", "b", To("fail"), "c"), step("b", "d"), step("c"), step("d"))
    assert (done.status, done.times) == (FAILED, {"a": 1, "b": 1, "c": 1})
    assert done.error["class"] == "FailCommand"


def test_elsewhere_what_runs_goes_on_after_fail(other):
    ends = {"b": lambda item: "late"}
    done = other(step("start", "b", "a"), step("a", "fail"), step("b", "c"), step("c"), **ends)
    assert (done.status, done.steps["b"]) == (FAILED, SUCCEEDED)


def test_elsewhere_continue_alone_lets_a_failure_stand(other):
    assert other(step("a", To("continue", on="failed")), a=FAILS).status == FAILED


def test_elsewhere_a_failure_is_handled_by_what_stands_beside_continue(other):
    done = other(step("a", To(["continue", "b"], on="failed")), step("b"), a=FAILS)
    assert (done.status, done.times) == (SUCCEEDED, {"a": 1, "b": 1})


def test_elsewhere_a_failure_nobody_handles_fails_the_run(other):
    assert other(step("a", "b"), step("b"), a=FAILS).status == FAILED


def test_a_run_that_fails_gives_its_output_as_far_as_it_can_be_told(other):
    done = other(step("a", To("fail", publish={"why": "result"})), output={"why": "vars.why"}, a="because")
    assert (done.status, done.output) == (FAILED, {"why": "because"})
    never = When("false", "noop", publish={"why": "result"})
    done = other(step("a", never, To("fail")), output={"why": "vars.why"})
    assert (done.status, done.error["class"], done.output) == (FAILED, "FailCommand", None)
