"""A run ends failed where it would exceed its most iterations or tasks."""

from django_workflow import To, When
from django_workflow.statuses import FAILED, SUCCEEDED
from tests.engine.interpreter import FAILS
from tests.engine.played.playing import each, play, step


def test_the_pass_after_the_last_one_allowed_never_starts():
    done = play(step("a", "a"), limits={"max_iterations": 5})
    assert (done.status, done.times) == (FAILED, {"a": 5})
    assert done.error == {
        "step": "a",
        "class": "LimitExceeded",
        "message": "MAX_ITERATIONS is 5; step 'a' would begin for the 6th time",
    }


def test_as_many_passes_as_are_allowed_are_no_error():
    assert play(step("a", When("iteration < 5", to="a")), limits={"max_iterations": 5}).status == SUCCEEDED


def test_the_command_retry_counts_towards_the_limit():
    done = play(step("a", To("retry", on="failed")), limits={"max_iterations": 5}, a=FAILS)
    assert (done.times, done.error["class"]) == ({"a": 5}, "LimitExceeded")


def test_a_limit_is_not_caught_by_a_transition():
    done = play(step("a", To("a"), To("noop", on="failed")), limits={"max_iterations": 5})
    assert (done.status, done.error["class"]) == (FAILED, "LimitExceeded")


def test_a_loop_of_steps_that_are_skipped_ends_at_the_limit():
    done = play(step("a", To("a", on="skipped"), when="false"), limits={"max_iterations": 50})
    assert (done.status, done.times["a"], done.rounds) == (FAILED, 50, 1)


def test_what_follows_diamonds_without_joins_ends_at_the_limit_of_tasks():
    row = [step(f"s{n}", f"l{n}", f"r{n}") for n in range(20)]
    sides = [step(f"{side}{n}", f"s{n + 1}") for n in range(20) for side in "lr"]
    done = play(*row, *sides, step("s20"), limits={"max_tasks": 500})
    assert (done.status, sum(item.task_count for item in done.made)) == (FAILED, 500)
    assert done.error["class"] == "LimitExceeded"
    assert done.error["message"].startswith("MAX_TASKS is 500; step '")
    assert done.error["message"].endswith("would bring the run to 501 tasks")


def test_steps_that_are_skipped_multiply_no_further_than_tasks():
    row = [step(f"s{n}", To([f"l{n}", f"r{n}"], on="always"), when="false") for n in range(20)]
    sides = [step(f"{side}{n}", To(f"s{n + 1}", on="always"), when="false") for n in range(20) for side in "lr"]
    done = play(*row, *sides, step("s20"), limits={"max_tasks": 500})
    assert (done.status, done.error["class"], len(done.made)) == (FAILED, "LimitExceeded", 500)


def test_items_of_maps_in_a_loop_count_towards_the_limit_of_tasks():
    done = play(each("a", "a", count=4), limits={"max_tasks": 10})
    assert (done.times, done.error["message"]) == (
        {"a": 3}, "MAX_TASKS is 10; step 'a' would bring the run to 12 tasks",
    )  # fmt: skip
