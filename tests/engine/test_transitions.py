"""Transitions, joins, loops, scopes, variables and limits, in runs that are played without a database."""

from dataclasses import replace

import pytest

from django_workflow import Otherwise, To, When
from django_workflow.definition.declare import compile_flow
from django_workflow.definition.expressions.language import Native
from django_workflow.definition.registry import registry
from django_workflow.definition.written.steps import FlowOptions, StepDraft
from django_workflow.statuses import FAILED, SKIPPED, SUCCEEDED
from tests.engine.interpreter import CASCADES, FAILS, SKIPS, Play


def step(name, *next, **options):
    return StepDraft(name, f"test.{name}", options={"next": next, **options})


def each(name, *next, **options):
    return StepDraft(name, f"test.{name}", "map", options={"next": next, **options})


def after(name, *depends_on, **options):
    return StepDraft(name, f"test.{name}", depends_on=depends_on, options=options)


def flow(*steps, **options):
    return compile_flow("test", list(steps), options=FlowOptions(**options))


def play(*steps, input=None, limits=None, entry=None, vars=None, output=None, **results):
    return Play(flow(*steps, entry=entry, vars=vars, output=output), results, input, **(limits or {})).run()


def passes(done, name):
    """Scope and iteration of each activation of a step; scopes by the order in which they were opened."""
    opened = {0: 0}
    for item in done.made:
        opened.setdefault(item.scope, len(opened))
    return [(opened[item.scope], item.iteration) for item in done.made if item.step.name == name]


def known_to(done, name):
    """The variables of each activation of a step."""
    found = [item.variables for item in done.made if item.step.name == name]
    return [dict(done.state.variables(key).values) if key else {} for key in found]


# --- entry


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


# --- which transitions fire


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


# --- commands


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


# --- flows of another language


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


# --- variables


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


# --- the declared output


def test_a_declared_output_sees_outputs_input_and_the_variables_of_all_branches():
    done = play(
        step("a", To("noop", publish={"x": "result"})), step("b", To("noop", publish={"y": "result"})),
        output={"x": "vars.x", "y": "vars.y", "a": "outputs.a", "in": "input", "as_it_is": [1]}, input=5, a=1, b=2,
    )  # fmt: skip
    assert done.output == {"x": 1, "y": 2, "a": 1, "in": 5, "as_it_is": [1]}


def test_an_output_that_cannot_be_told_fails_the_run():
    done = play(step("a"), output={"x": "input.nope"})
    assert (done.status, done.error["class"], done.output) == (FAILED, "ExpressionError", None)
    assert done.error["message"].startswith("output of the flow: ")


SMALL = {"max_output": 100}
LARGE = "x" * 60


def test_a_declared_output_that_is_too_large_fails_the_run_and_is_dropped():
    done = play(step("a"), output={"one": "outputs.a", "two": "outputs.a"}, limits=SMALL, a=LARGE)
    assert (done.status, done.error["class"], done.output) == (FAILED, "ExpressionError", None)
    assert done.error["message"] == "output of the flow: 139 bytes of JSON are too many; 100 are allowed"


def test_a_run_that_failed_drops_an_output_that_is_too_large_and_keeps_its_reason():
    done = play(
        step("a", "b"), step("b"), output={"one": "outputs.a", "two": "outputs.a"}, limits=SMALL, a=LARGE, b=FAILS
    )
    assert (done.status, done.error["step"], done.output) == (FAILED, "b", None)


def test_variables_of_a_flow_that_are_too_large_fail_the_run():
    done = play(step("a"), vars={"one": "input", "two": "input"}, limits=SMALL, input=LARGE)
    assert (done.status, done.error["class"], done.made) == (FAILED, "ExpressionError", [])
    assert done.error["message"] == "variables of the flow: 139 bytes of JSON are too many; 100 are allowed"


def test_what_a_way_publishes_is_too_large_with_what_is_known():
    done = play(
        step("a", To("b", publish={"two": "input"})), step("b"), vars={"one": "input"}, limits=SMALL, input=LARGE
    )
    assert (done.status, done.error["step"]) == (FAILED, "a")
    told = "publish of transition 1 of step 'a': 139 bytes of JSON are too many; 100 are allowed"
    assert done.error["message"] == told


@pytest.mark.parametrize("delay", ["0", "60"])
def test_branches_that_know_too_much_together_fail_the_run_where_they_meet(delay):
    done = play(
        step("a", To("meet", publish={"one": "input"}, delay=delay)), step("b", To("meet", publish={"two": "input"})),
        step("meet", join="all"), limits=SMALL, input=LARGE,
    )  # fmt: skip
    assert (done.status, done.error["step"], done.error["class"]) == (FAILED, "meet", "ExpressionError")
    told = "variables for step 'meet': 139 bytes of JSON are too many; 100 are allowed"
    assert done.error["message"] == told


def test_ways_of_one_step_that_know_too_much_together_fail_the_run():
    done = play(
        step("a", To("meet", publish={"one": "input"}), To("meet", publish={"two": "input"})),
        step("b", "meet"), step("meet", join="all"), limits=SMALL, input=LARGE,
    )  # fmt: skip
    assert (done.status, done.error["step"], done.error["class"]) == (FAILED, "a", "ExpressionError")


def test_branches_that_end_with_too_much_fail_the_run():
    done = play(
        step("a", To("noop", publish={"one": "input"})), step("b", To("noop", publish={"two": "input"})),
        output={"x": "1"}, limits=SMALL, input=LARGE,
    )  # fmt: skip
    assert (done.status, done.error["class"], done.output) == (FAILED, "ExpressionError", {"x": 1})
    assert done.error["message"].startswith("variables of the branches that ended: ")


def test_a_branch_that_ends_with_too_much_as_its_step_fails_keeps_the_steps_reason():
    done = play(
        step("a", To("noop", publish={"one": "input"})),
        step("b", To("continue", on="failed", publish={"two": "input"})),
        output={"x": "1"}, limits=SMALL, input=LARGE, b=FAILS,
    )  # fmt: skip
    assert (done.status, done.error["step"], done.output) == (FAILED, "b", {"x": 1})


def test_what_a_last_late_arrival_knows_is_the_runs_too():
    done = play(
        step("a", "meet"), step("b", "late"), step("late", To("meet", publish={"late": "true"})),
        step("meet", join=1), output={"late": "vars.late"},
    )  # fmt: skip
    assert done.output == {"late": True}


def test_what_is_left_over_at_a_join_knows_is_the_runs_too():
    again = When("iteration < 2", to=["a", "meet"])
    done = play(
        step("a", again, Otherwise("meet", publish={"last": "'a'"})), step("b", "meet"), step("meet", join="all"),
        vars={"last": None}, output={"last": "vars.last"},
    )  # fmt: skip
    assert (done.status, len(done.leftovers), done.output) == (SUCCEEDED, 1, {"last": "a"})


# --- joins


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


# --- loops


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


# --- splits and scopes

DIAMOND = [step("a", "b", "c"), step("b", "s"), step("c", "s")]


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


# --- delays


def test_a_delay_of_a_way_and_that_of_its_step_add_up():
    done = play(step("a", To("b", delay="input")), step("b", delay="input * 2"), input=10)
    assert (done.of("a").delay, done.of("b").delay) == (0.0, 30.0)


def test_an_expression_for_a_delay_sees_what_was_published():
    done = play(step("a", To("b", publish={"wait": "result"}, delay="vars.wait")), step("b"), a=7)
    assert done.of("b").delay == 7.0


@pytest.mark.parametrize("value", [31_536_001, 1e15, 1e300])
def test_a_delay_of_more_than_a_year_fails_the_run_and_names_place_and_limit(value):
    done = play(step("a", To("b", delay="result")), step("b"), a=value)
    assert (done.status, done.error["class"], done.error["step"]) == (FAILED, "ExpressionError", "a")
    assert done.error["message"] == f"delay of transition 1 of step 'a': it may be at most 365 days, not {value!r} s"


def test_a_delay_of_a_year_is_one():
    assert play(step("a", To("b", delay="result")), step("b"), a=31_536_000).of("b").delay == 31_536_000.0


@pytest.mark.parametrize("value", [-1, "soon", True, None, 1e400])
def test_a_delay_that_is_no_number_of_seconds_fails_the_run(value):
    done = play(step("a", To("b", delay="result")), step("b"), a=value)
    if value is None:
        assert done.status == SUCCEEDED
    else:
        assert (done.status, done.error["class"], done.error["step"]) == (FAILED, "ExpressionError", "a")
        assert done.error["message"].startswith("delay of transition 1 of step 'a': ")


def test_a_delayed_arrival_at_a_join_counts_when_it_is_due():
    done = play(step("a", To("meet", delay="60")), step("b", "meet", "c"), step("c"), step("meet", join="all"))
    assert (done.status, done.made[-1].step.name, done.rounds) == (SUCCEEDED, "meet", 6)


def test_a_run_does_not_end_before_a_delayed_arrival():
    done = play(step("a", To("meet", delay="60")), step("b", "meet"), step("meet", join=1))
    assert (done.times["meet"], len(done.state.generations["meet", 0, 1].arrived)) == (1, 2)


def test_a_delayed_arrival_brings_its_variables():
    done = play(step("a", To("meet", delay="60", publish={"x": "1"})), step("b", "meet"), step("meet", join="all"))
    assert known_to(done, "meet") == [{"x": 1}]


def test_delayed_arrivals_in_a_loop_are_counted_in_the_order_in_which_they_are_due():
    again = When("iteration < 3", to="a")
    done = play(
        step("a", "b", "c"), step("b", To("meet", delay="1")), step("c", "meet"), step("meet", again, join="all"),
        entry=["a"],
    )  # fmt: skip
    assert (done.status, done.times["meet"]) == (SUCCEEDED, 3)


# --- joins that wait in vain


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


# --- limits


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


# --- conditions and skips


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
