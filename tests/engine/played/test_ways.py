"""A run begins with its entry, and the transitions whose outcome and condition hold lead on from each step."""

import pytest

from django_workflow import Otherwise, To, When
from django_workflow.statuses import SKIPPED, SUCCEEDED
from tests.engine.interpreter import CASCADES, FAILS, SKIPS
from tests.engine.played.playing import after, flow, passes, play, step


def test_a_run_begins_with_every_step_that_nothing_leads_to():
    done = play(step("a", "c"), step("b"), step("c", When("false", to="c")))
    assert [item.step.name for item in done.made] == ["a", "b", "c"]


def test_a_way_from_a_step_to_itself_is_no_way_to_it():
    assert flow(step("a", When("iteration < 3", to="a"))).entry == ("a",)


def test_a_run_begins_with_what_entry_names():
    done = play(step("a", When("iteration == 1", to="b")), step("b", "a"), entry=["b"])
    assert [item.step.name for item in done.made] == ["b", "a", "b", "a"]


def test_a_step_that_a_run_begins_with_is_reached_once_more_by_what_leads_to_it():
    done = play(step("a", "b"), step("b", "c"), step("c"), entry=["a", "b"])
    assert (done.times, passes(done, "b"), passes(done, "c")) == (
        {"a": 1, "b": 2, "c": 2}, [(0, 1), (1, 1)], [(0, 1), (1, 1)],
    )  # fmt: skip


def test_a_join_that_a_run_begins_with_fires_as_well():
    done = play(
        step("a", "b"), step("b", "meet"), step("c", "meet"), step("meet", join="all"), entry=["a", "c", "meet"]
    )
    assert (done.status, passes(done, "meet")) == (SUCCEEDED, [(0, 1), (0, 2)])


def test_all_that_hold_fire_in_listed_order():
    done = play(step("a", "c", When("result == 1", to="b"), When("result == 2", to="d"), "e"), *map(step, "bcde"), a=1)
    assert [item.step.name for item in done.made] == ["a", "c", "b", "e"]


def test_of_several_the_first_that_holds_fires_where_the_step_says_so():
    ways = (When("result > 5", to="b"), When("result > 1", to="c"), To("d"), Otherwise("e"))
    done = play(step("a", *ways, match="first"), *map(step, "bcde"), a=3)
    assert done.times == {"a": 1, "c": 1}


def test_one_way_reaches_several_steps():
    assert play(step("a", To(["b", "c"])), step("b"), step("c")).times == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(("result", "then"), [(1, "b"), (2, "c")])
def test_otherwise_is_for_when_no_other_fired(result, then):
    done = play(step("a", Otherwise("c"), When("result == 1", to="b")), step("b"), step("c"), a=result)
    assert done.times == {"a": 1, then: 1}


def test_several_others_fire_together_and_with_match_first_one():
    ways = (When("result == 1", to="b"), Otherwise("c"), Otherwise("d"))
    steps = [*map(step, "bcd")]
    assert play(step("a", *ways), *steps).times == {"a": 1, "c": 1, "d": 1}
    assert play(step("a", *ways, match="first"), *steps).times == {"a": 1, "c": 1}


def test_otherwise_is_told_apart_by_outcome():
    ways = (When("false", to="b", on="failed"), Otherwise("c", on="failed"), Otherwise("d"))
    assert play(step("a", *ways), *map(step, "bcd"), a=FAILS).times == {"a": 1, "c": 1}


@pytest.mark.parametrize(
    ("end", "on"), [("x", "succeeded"), (FAILS, "failed"), (SKIPS, "skipped"), (CASCADES, "skipped")]
)
def test_a_way_is_for_one_outcome_or_for_every_one(end, on):
    ways = [To(name, on=name) for name in ("succeeded", "failed", "skipped", "always")]
    done = play(step("a", *ways), *(step(way.to) for way in ways), a=end)
    assert (done.status, done.times) == (SUCCEEDED, {"a": 1, on: 1, "always": 1})


def test_a_skipped_step_leads_on_only_where_a_way_says_so():
    assert play(step("a", "b"), step("b"), a=SKIPS).times == {"a": 1}


def test_a_dependency_leads_on_beside_ways_and_whatever_matches():
    done = play(step("a", When("true", to="b"), match="first"), step("b"), after("c", "a"))
    assert done.times == {"a": 1, "b": 1, "c": 1}
    assert play(step("a", Otherwise("b")), step("b"), after("c", "a")).times == {"a": 1, "b": 1, "c": 1}


def test_a_cascade_goes_along_dependencies_and_not_along_ways():
    done = play(step("a", To("b", on="skipped")), step("b"), after("c", "a"), a=CASCADES)
    assert done.steps == {"a": SKIPPED, "b": SUCCEEDED, "c": SKIPPED}


def test_conditions_see_what_has_ended():
    seen = "result is None and status == 'failed' and error['class'] == 'Error' and error.message == 'no'"
    more = "iteration == 1 and input.x == 2 and outputs.a == 5 and outputs.b is None and vars.y == 3"
    done = play(
        step("a", "b"), step("b", When(f"{seen} and {more}", to="c", on="failed")), step("c"),
        input={"x": 2}, vars={"y": 3}, a=5, b=FAILS,
    )  # fmt: skip
    assert done.times["c"] == 1
