"""A join starts when enough predecessors have arrived, and fails the run where they never do."""

from django_workflow import Otherwise, To, When
from django_workflow.statuses import FAILED, SUCCEEDED
from tests.engine.interpreter import FAILS
from tests.engine.played.playing import DIAMOND, after, known_to, passes, play, step


def test_a_step_without_a_join_starts_with_each_arrival():
    done = play(step("a", "c"), step("b", "c"), step("c", "d"), step("d"))
    assert done.times == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_a_join_of_all_starts_once():
    done = play(step("a", "c"), step("b", "c"), step("c", "d", join="all"), step("d"))
    assert done.times == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_a_join_of_n_starts_with_the_nth_and_only_records_later_ones():
    done = play(*(step(name, "meet") for name in "abc"), step("meet", "then", join=2), step("then"))
    assert (done.times["meet"], done.times["then"]) == (1, 1)
    assert list(done.state.generations["meet", 0, 1].arrived) == ["a", "b", "c"]


def test_arrivals_of_one_predecessor_do_not_stand_for_another():
    loop = When("iteration < 3", to=["a", "meet"])
    done = play(step("a", loop, Otherwise("meet")), step("b", "meet"), step("meet", join=2))
    assert (done.times["meet"], [len(seen.arrived) for seen in done.state.generations.values()]) == (1, [2, 1, 1])


def test_several_ways_of_one_step_into_a_join_are_one_arrival_that_knows_what_each_publishes():
    done = play(
        step("a", To("meet", publish={"x": "1"}), When("true", to=["meet", "c"], publish={"y": "2"})),
        step("b", "meet"), step("c"), step("meet", join="all"),
    )  # fmt: skip
    assert (done.status, done.times["meet"], done.leftovers) == (SUCCEEDED, 1, [])
    assert (known_to(done, "meet"), known_to(done, "c")) == ([{"x": 1, "y": 2}], [{"y": 2}])


def test_several_ways_of_one_step_start_a_step_without_a_join_several_times():
    done = play(step("a", "b", "b", To(["b", "c"])), step("b"), step("c"))
    assert (done.times, passes(done, "b")) == ({"a": 1, "b": 3, "c": 1}, [(0, 1), (0, 2), (0, 3)])


def test_a_join_of_all_with_one_predecessor_starts_with_each_arrival():
    done = play(step("a", When("iteration < 3", to=["a", "b"]), Otherwise("b")), step("b", join="all"))
    assert (done.times["b"], done.state.generations) == (3, {})


def test_a_join_knows_who_came_last():
    done = play(step("a", "meet"), step("b", "meet"), step("meet", join="all"))
    assert done.state.step_runs[done.of("meet").source].step.name == "b"


def test_a_failure_may_be_what_arrives():
    done = play(step("a", "meet"), step("b", To("meet", on="always")), step("meet", join="all"), b=FAILS)
    assert (done.status, done.times["meet"]) == (SUCCEEDED, 1)


def test_a_join_nobody_reached_is_no_error():
    assert play(step("a", When("false", to="meet")), step("b", When("false", to="meet")),
                step("meet", join="all")).status == SUCCEEDED  # fmt: skip


def test_a_join_reached_in_part_fails_the_run_and_names_who_is_missing():
    never = When("false", to="meet")
    done = play(step("a", "meet"), step("b", never), step("c", never), step("meet", join="all"))
    assert done.error == {
        "step": "meet",
        "class": "JoinIncomplete",
        "message": "join 'meet' waits for 3 steps, and nothing is left to reach it; there: 'a'; missing: 'b', 'c'",
    }


def test_a_join_that_waits_for_what_the_run_does_not_begin_with_fails_the_run():
    done = play(step("a"), step("b"), after("c", "a", "b"), entry=["a"])
    assert (done.status, done.error["class"]) == (FAILED, "JoinIncomplete")


def test_a_join_that_one_scope_reaches_in_part_fails_the_run():
    done = play(
        *DIAMOND, step("s", "x", When("result == 0", to="y")), step("x", "meet"), step("y", "meet"),
        step("meet", join="all"), s=lambda item: item.scope,
    )  # fmt: skip
    assert (done.status, done.times["meet"], done.error["class"]) == (FAILED, 1, "JoinIncomplete")


def test_a_later_generation_that_is_left_over_is_told_and_no_error():
    done = play(step("a", When("iteration < 2", to=["a", "meet"]), Otherwise("meet")), step("b", "meet"),
                step("meet", join="all"))  # fmt: skip
    assert done.status == SUCCEEDED
    assert [(item.step, item.generation, item.sources) for item in done.leftovers] == [("meet", 2, ("a",))]
