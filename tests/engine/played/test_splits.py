"""A step that several predecessors reach without a join runs once for each, in a scope of its own."""

from django_workflow import Otherwise, When
from django_workflow.statuses import SUCCEEDED
from tests.engine.played.playing import DIAMOND, each, passes, play, step


def test_what_follows_a_split_runs_apart():
    done = play(*DIAMOND, step("s", "x", "y"), step("x", "meet"), step("y", "meet"), step("meet", join="all"))
    assert [passes(done, name) for name in ("s", "x", "meet")] == [[(0, 1), (1, 1)]] * 3


def test_a_split_below_a_split_opens_a_scope_in_a_scope():
    done = play(*DIAMOND, step("s", "d", "e"), step("d", "t"), step("e", "t"), step("t"))
    scopes = [done.state.scopes(item.scope) for item in done.made if item.step.name == "t"]
    assert (done.times["t"], sorted(map(len, scopes))) == (4, [1, 2, 2, 3])


def test_a_split_is_split_for_each_further_arrival():
    sources = [step(name, "s") for name in "abcd"]
    assert passes(play(*sources, step("s")), "s") == [(0, 1), (1, 1), (2, 1), (3, 1)]


def test_a_loop_opens_no_scope():
    done = play(step("a", When("iteration < 4", to="b")), step("b", "a"), entry=["a"])
    assert {item.scope for item in done.made} == {0}


def test_a_loop_behind_a_split_counts_for_itself():
    done = play(*DIAMOND, step("s", When("iteration < 3", to="s")))
    assert passes(done, "s") == [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]


def test_two_steps_of_a_loop_that_lead_to_one_do_not_split_it():
    done = play(
        step("a", When("iteration % 2 == 1", to="odd"), Otherwise("even")), step("odd", "c"), step("even", "c"),
        step("c", When("iteration < 4", to="a")), entry=["a"],
    )  # fmt: skip
    assert passes(done, "c") == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_a_condition_in_a_scope_sees_what_was_given_around_it():
    done = play(
        *DIAMOND, step("s", "t", when="outputs.a == 'a' and outputs.s is None"), step("t", when="outputs.s == 's'")
    )
    assert (done.times, set(done.steps.values())) == ({"a": 1, "b": 1, "c": 1, "s": 2, "t": 2}, {SUCCEEDED})


def test_what_a_step_gave_in_its_own_scope_hides_what_one_gave_outside():
    done = play(*DIAMOND, step("s", When("result == outputs.s", to="t")), step("t"), s=lambda item: item.id)
    assert done.times["t"] == 2


def test_maps_in_scopes_take_their_items_from_around():
    done = play(*DIAMOND, each("s", over="a"), a=[1, 2])
    assert [item.items for item in done.made if item.step.name == "s"] == [[1, 2], [1, 2]]


def test_an_empty_map_is_seen_in_a_scope_that_opens_in_the_same_decision():
    done = play(
        each("a", "b", "c", count=0), each("b", "s", count=0), each("c", "s", count=0),
        step("s", when="outputs.a == [] and outputs.c == []"),
    )  # fmt: skip
    assert (done.times["s"], done.steps["s"]) == (2, SUCCEEDED)
