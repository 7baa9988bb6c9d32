"""A loop activates its steps and joins once in each pass."""

from django_workflow import Otherwise, When
from django_workflow.statuses import SUCCEEDED
from tests.engine.played.playing import passes, play, step


def test_a_loop_ends_by_its_condition():
    done = play(step("a", "b"), step("b", "c"), step("c", When("iteration < 4", to="a"), Otherwise("d")), step("d"),
                entry=["a"])  # fmt: skip
    assert done.times == {"a": 4, "b": 4, "c": 4, "d": 1}
    assert passes(done, "c") == [(0, 1), (0, 2), (0, 3), (0, 4)]


def test_nested_loops_count_on():
    done = play(
        step("outer", "inner"),
        step("inner", When("iteration % 3 != 0", to="inner"), When("iteration == 6", to="end"), Otherwise("outer")),
        step("end"), entry=["outer"],
    )  # fmt: skip
    assert done.times == {"outer": 2, "inner": 6, "end": 1}


def test_a_join_in_a_loop_starts_once_in_each_pass():
    done = play(
        step("a", "b", "c"), step("b", "meet"), step("c", "meet"),
        step("meet", When("iteration < 5", to="a"), join="all"), entry=["a"],
    )  # fmt: skip
    assert (done.times, set(done.fired.values())) == ({"a": 5, "b": 5, "c": 5, "meet": 5}, {1})
    assert list(done.fired) == [("meet", 0, number) for number in range(1, 6)]


def test_a_join_in_a_loop_counts_the_pass_a_fast_branch_is_ahead():
    # b goes round three times before c ends once: c's one arrival meets b's first
    done = play(
        step("a", "b", "c"), step("b", When("iteration < 3", to=["b", "meet"]), Otherwise("meet")),
        step("c", "c2"), step("c2", "c3"), step("c3", "c4"), step("c4", "meet"), step("meet", join="all"),
    )  # fmt: skip
    assert (done.status, done.times["meet"]) == (SUCCEEDED, 1)
    assert [(item.generation, item.sources) for item in done.leftovers] == [(2, ("b",)), (3, ("b",))]


def test_a_join_of_n_in_a_loop_is_not_started_by_what_came_late_in_the_pass_before():
    slow = [step("c", "c2"), step("c2", "meet")]
    again = When("iteration < 4", to="a")
    done = play(step("a", "b", "c"), step("b", "meet"), *slow, step("meet", again, join=1), entry=["a"])
    assert (done.status, done.times["meet"], done.times["a"]) == (SUCCEEDED, 4, 4)
    assert set(done.fired.values()) == {1}


def test_a_step_in_a_loop_reads_the_latest_output():
    done = play(
        step("a", When("result < 3", to="a"), Otherwise("b")), step("b", When("outputs.a == 3", to="c")), step("c"),
        a=lambda item: item.iteration,
    )  # fmt: skip
    assert done.times == {"a": 3, "b": 1, "c": 1}
