"""Variables begin with the flow's, are published by transitions, and meet at joins."""

from dataclasses import replace

from django_workflow import To
from django_workflow.definition.expressions.language import Native
from django_workflow.definition.registry import registry
from tests.engine.interpreter import Play
from tests.engine.played.playing import flow, known_to, play, step


def test_variables_of_the_flow_see_those_before_them_and_the_input():
    done = play(step("a"), vars={"one": "input.x", "two": "vars.one + 1", "three": [1]}, input={"x": 1})
    assert known_to(done, "a") == [{"one": 1, "two": 2, "three": [1]}]


def test_each_published_value_sees_those_before_it():
    done = play(
        step("a", To("b", publish={"x": "result", "y": "vars.x + 1"})), step("b"), a=1
    )  # fmt: skip
    assert known_to(done, "b") == [{"x": 1, "y": 2}]


def test_what_a_way_publishes_reaches_its_targets_only():
    done = play(step("a", To(["b", "c"], publish={"x": "1"}), "d"), *map(step, "bcd"), vars={"x": 0})
    assert [known_to(done, name) for name in "bcd"] == [[{"x": 1}], [{"x": 1}], [{"x": 0}]]


def test_variables_are_handed_on():
    done = play(step("a", To("b", publish={"x": "1"})), step("b", "c"), step("c"))
    assert known_to(done, "c") == [{"x": 1}]
    assert len(done.state.stored) == 1


def test_text_that_was_published_is_not_evaluated_again():
    done = play(step("a", To("b", publish={"x": "result"})), step("b", To("c", publish={"y": "vars.x"})), step("c"),
                vars={"secret": 1}, a="vars.secret")  # fmt: skip
    assert known_to(done, "c") == [{"secret": 1, "x": "vars.secret", "y": "vars.secret"}]


def test_an_object_replaces_another_and_merge_goes_into_it():
    before = {"x": {"a": 1, "deep": {"b": 2}}}
    done = play(
        step("a", To("b", publish={"x": {"deep": {"c": 3}}}), To("c", merge={"x": {"deep": {"c": 3}}})),
        step("b"), step("c"), vars=before,
    )  # fmt: skip
    assert known_to(done, "b") == [{"x": {"deep": {"c": 3}}}]
    assert known_to(done, "c") == [{"x": {"a": 1, "deep": {"b": 2, "c": 3}}}]


def test_merging_into_what_is_no_object_replaces_it():
    done = play(step("a", To("b", merge={"x": {"k": 1}, "y": {"k": 1}})), step("b"), vars={"x": 7})
    assert known_to(done, "b") == [{"x": {"k": 1}, "y": {"k": 1}}]


def test_publishing_what_is_no_json_value_fails_the_run_and_names_its_place():
    registry.add_callable("language:sets", type("Sets", (Native,), {"value": lambda self, written, names: {1}})())
    spec = replace(flow(step("a", To("b", publish={"x": "1"})), step("b")), language="sets")
    done = Play(spec).run()
    assert done.error["message"] == "publish of transition 1 of step 'a': 'x' is no JSON value"


def test_at_a_join_of_each_name_what_was_written_last_counts():
    done = play(
        step("a", "b", "c"),
        step("b", To("meet", publish={"x": "'b'", "shared": "'b'"})),
        step("c", To("meet", publish={"y": "'c'", "shared": "'c'"})),
        step("meet", join="all"),
        vars={"x": 0, "y": 0, "z": 0, "shared": 0},
    )
    assert known_to(done, "meet") == [{"x": "b", "y": "c", "z": 0, "shared": "c"}]


def test_a_branch_that_did_not_touch_a_name_does_not_reset_it():
    done = play(
        step("a", "b", "slow"), step("b", To("meet", publish={"x": "1"})), step("slow", "slower"),
        step("slower", "meet"), step("meet", join="all"), vars={"x": 0},
    )  # fmt: skip
    assert known_to(done, "meet") == [{"x": 1}]


def test_a_value_written_before_a_fork_gives_way_to_one_written_behind_it():
    done = play(
        step("a", To(["b", "c"], publish={"x": "'old'"})), step("b", "meet"),
        step("c", To("meet", publish={"x": "'new'"})), step("meet", join="all"),
    )  # fmt: skip
    assert known_to(done, "meet") == [{"x": "new"}]


def test_where_one_branch_knows_all_its_variables_are_handed_on_as_they_are():
    done = play(step("a", "b", "c"), step("b", "meet"), step("c", "meet"), step("meet", join="all"), vars={"x": 0})
    assert len(done.state.stored) == 1
