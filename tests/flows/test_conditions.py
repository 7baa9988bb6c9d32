"""Conditions on steps, decided through the database: skips, cascades, and errors that are never silent."""

from __future__ import annotations

import pytest

from django_workflow import Skip, condition, testing
from django_workflow.definition.elements import Condition
from django_workflow.models import StepRun


def step_of(result, name):
    return StepRun.objects.get(run_id=result.run_id, step=name)


@pytest.mark.parametrize(("total", "status"), [(100, "succeeded"), (99, "skipped")])
def test_expression_looks_at_input_and_outputs(flow, run, total, status):
    flow.step(name="reserve")(lambda: {"total": total})
    flow.step(name="check", depends_on=["reserve"], when="outputs.reserve.total >= input.least")(lambda: "checked")
    result = run(flow, {"least": 100})
    step = step_of(result, "check")
    assert (step.status, step.reason) == (status, "" if status == "succeeded" else "condition_unmet")


def test_entry_step_may_have_a_condition(flow, run):
    flow.step(name="first", when="input > 1")(lambda: "ran")
    assert run(flow, 2).output == {"first": "ran"}
    assert run(flow, 1).output == {}


def test_condition_may_look_at_the_output_of_a_map(flow, run):
    flow.map(name="each", over="input")(lambda item: item)
    flow.step(name="after", depends_on=["each"], when="outputs.each[1] == 2")(lambda: "ran")
    assert run(flow, [1, 2]).output == {"after": "ran"}


def test_condition_may_look_at_a_step_further_back(flow, run):
    flow.step(name="first")(lambda: 5)
    flow.step(name="second", depends_on=["first"])(lambda: None)
    flow.step(name="third", depends_on=["second"], when="outputs.first == 5")(lambda: "ran")
    assert run(flow).output == {"third": "ran"}


def test_condition_sees_a_skipped_step_as_none(flow, run):
    flow.step(name="first")(lambda: Skip("no"))
    flow.step(name="second", depends_on=["first"], when="outputs.first is None")(lambda: "ran")
    assert run(flow).output == {"second": "ran"}


def test_callable_is_asked_for_what_its_parameters_name(flow, run):
    def is_large(input, outputs):
        return outputs["first"] > input

    flow.step(name="first")(lambda: 5)
    flow.step(name="second", depends_on=["first"], when=is_large)(lambda: "ran")
    assert run(flow, 4).output == {"second": "ran"}
    assert run(flow, 5).output == {}


def test_callable_cannot_change_what_it_is_shown(flow, run):
    def meddles(input):
        input.append("spoilt")
        return True

    @flow.step(when=meddles)
    def reads(input):
        return input

    assert run(flow, [1])["reads"] == [1]


def test_dependents_of_a_skipped_step_still_run_once(flow, run):
    ran = []
    flow.step(name="left", when="input == 'left'")(lambda: "left")
    flow.step(name="right", when="input == 'right'")(lambda: "right")

    @flow.step
    def join(left="absent", right="absent"):
        ran.append(1)
        return [left, right]

    assert run(flow, "left")["join"] == ["left", "absent"]
    assert run(flow, "neither")["join"] == ["absent", "absent"]
    assert len(ran) == 2


def test_cascade_skips_everything_that_follows(flow, run):
    flow.step(name="gate", when="input == 'open'", on_unmet="skip_cascade")(lambda: None)
    flow.step(name="other")(lambda: None)
    flow.step(name="join", depends_on=["gate", "other"])(lambda: None)
    flow.map(name="each", over="input", depends_on=["join"])(lambda item: item)
    flow.step(name="leaf", depends_on=["each"])(lambda: None)
    result = run(flow, "shut")
    assert (result.status, result.output) == ("succeeded", {})
    assert [(name, step_of(result, name).reason) for name in ("gate", "join", "each", "leaf")] == [
        ("gate", "condition_unmet"),
        ("join", "dependency_skipped"),
        ("each", "dependency_skipped"),
        ("leaf", "dependency_skipped"),
    ]
    assert step_of(result, "other").status == "succeeded"


def test_chain_of_thousand_skipped_steps_settles_with_the_start(flow, db):
    flow.step(name="s0", when="input == 'go'", on_unmet="skip_cascade")(lambda: None)
    for number in range(1, 1000):
        flow.step(name=f"s{number}", depends_on=[f"s{number - 1}"])(lambda: None)
    handle = flow.start()
    assert handle.status == "succeeded"
    assert StepRun.objects.filter(run_id=handle.id, status="skipped").count() == 1000


def test_unmet_condition_may_fail_the_run(flow, run):
    flow.step(name="gate", when="input == 'open'", on_unmet="fail")(lambda: None)
    result = run(flow, "shut")
    assert (result.status, result.error["step"], result.error["class"]) == ("failed", "gate", "ConditionUnmet")
    assert "input == 'open'" in result.error["message"]
    assert step_of(result, "gate").status == "failed"


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("input.missing.deeper == 1", "input.missing.deeper"),
        ("input / 0 == 1", "input / 0"),
        ("outputs.first < 3", "outputs.first < 3"),
    ],
)
def test_error_in_a_condition_fails_the_run_and_names_step_and_expression(flow, run, when, told):
    flow.step(name="first")(lambda: "text")
    flow.step(name="gate", depends_on=["first"], when=when)(lambda: None)
    flow.step(name="other", depends_on=["first"])(lambda: None)
    result = run(flow, 1)
    assert (result.status, result.error["step"], result.error["class"]) == ("failed", "gate", "ExpressionError")
    assert "'gate'" in result.error["message"]
    assert told in result.error["message"]
    assert not StepRun.objects.filter(run_id=result.run_id).unsettled().exists()


def test_error_in_a_callable_fails_the_run_and_names_it(flow, run):
    def broken(input):
        raise LookupError("no such key")

    flow.step(name="gate", when=broken)(lambda: None)
    result = run(flow)
    assert result.error["class"] == "ExpressionError"
    assert "gate.when() raised LookupError: no such key" in result.error["message"]


def test_error_in_the_condition_of_an_entry_step_leaves_a_failed_run(flow, db):
    flow.step(name="gate", when="input.a == 1")(lambda: None)
    handle = flow.start(None)
    testing.assert_settled(handle, "failed", steps={"gate": "failed"})


def test_registered_condition_is_called_by_its_name_in_the_stored_definition(flow, db, unique):
    name = unique("is_open")

    @condition(name)
    def is_open(input):
        return input == "open"

    flow.step(name="gate", when=Condition(callable=name))(lambda: "in")
    assert flow.execute("open").output == {"gate": "in"}
    assert flow.execute("shut").output == {}
