"""Splits with the real database: what runs apart sees what was given around it, and handlers get the right outputs."""

from __future__ import annotations

import pytest

from django_workflow import To, When
from django_workflow.models import StepRun, Task

pytestmark = pytest.mark.django_db


@pytest.fixture
def split(make_flow):
    """Two branches that lead into one step without a join."""

    def make(**options):
        flow = make_flow(**options)
        flow.step(name="a", next=["b", "c"])(lambda: [1, 2])
        flow.step(name="b", next="s")(lambda: "b")
        flow.step(name="c", next="s")(lambda: "c")
        return flow

    return make


def outputs(result, step):
    rows = Task.objects.filter(run_id=result.run_id, step_run__step=step).order_by("id")
    return list(rows.values_list("output", flat=True))


def test_a_condition_of_a_split_sees_what_was_given_around_it(split, run):
    flow = split()
    flow.step(name="s", when="outputs.a == [1, 2] and outputs.s is None", next="t")(lambda: "s")
    flow.step(name="t", when="outputs.s == 's'")(lambda: "t")
    result = run(flow)
    assert (result.counts["s"], result.counts["t"]) == (2, 2)
    assert set(StepRun.objects.filter(run_id=result.run_id).values_list("status", flat=True)) == {"succeeded"}


def test_a_map_that_is_split_takes_its_items_from_around(split, run):
    flow = split()
    flow.map(name="s", over="vars.items")(lambda item: item * 10)
    flow.drafts[0].options["next"] = To(["b", "c"], publish={"items": "result"})
    assert outputs(run(flow), "s") == [10, 20, 10, 20]


def test_a_handler_takes_the_output_of_its_own_scope_and_else_that_of_the_one_around(split, run):
    flow = split()
    flow.step(name="s", next="t")(lambda ctx: [*ctx.output("a"), ctx.output("b"), ctx.idempotency_key])
    flow.step(name="t", next="u")(lambda s: s)
    flow.step(name="u")(lambda s, t: s == t)
    result = run(flow)
    first, second = outputs(result, "s")
    assert (first[:3], first[3] == second[3]) == ([1, 2, "b"], False)
    assert sorted(outputs(result, "t")) == sorted([first, second])
    assert outputs(result, "u") == [True, True]


def test_joins_below_splits_wait_for_their_own_scope(split, run):
    flow = split(name="joined", output={"met": "outputs.meet"})
    flow.step(name="s", next=["x", "y"])(lambda ctx: ctx.idempotency_key)
    flow.step(name="x", next="meet")(lambda s: s)
    flow.step(name="y", next="meet")(lambda s: s)
    flow.step(name="meet", join="all")(lambda x, y: x == y)
    assert outputs(run(flow), "meet") == [True, True]


def test_a_loop_below_a_split_counts_for_itself(split, run):
    flow = split()
    flow.step(name="s", next=When("iteration < 3", to="s"))(lambda ctx: ctx.iteration)
    result = run(flow)
    assert result.status == "succeeded"
    assert sorted(outputs(result, "s")) == [1, 1, 2, 2, 3, 3]


def test_a_step_that_a_run_begins_with_is_reached_once_more(make_flow, run):
    flow = make_flow(entry=["a", "b"])
    flow.step(name="a", next="b")(lambda: None)
    flow.step(name="b", next="c")(lambda: None)
    flow.step(name="c")(lambda: None)
    assert run(flow).counts == {"a": 1, "b": 2, "c": 2}


def test_a_join_that_a_run_begins_with_fires_as_well(make_flow, run):
    flow = make_flow(entry=["a", "c", "meet"])
    flow.step(name="a", next="meet")(lambda: None)
    flow.step(name="c", next="meet")(lambda: None)
    flow.step(name="meet", join="all")(lambda: None)
    assert run(flow).counts == {"a": 1, "c": 1, "meet": 2}


def test_a_row_of_skipped_diamonds_ends_at_the_limit_of_tasks(make_flow, run):
    flow = make_flow(max_tasks=300)
    for number in range(20):
        sides = [f"{side}{number}" for side in "lr"]
        flow.step(name=f"s{number}", when="false", next=To(sides, on="always"))(lambda: None)
        for side in sides:
            flow.step(name=side, when="false", next=To(f"s{number + 1}", on="always"))(lambda: None)
    flow.step(name="s20")(lambda: None)
    result = run(flow)
    assert (result.status, result.error["class"]) == ("failed", "LimitExceeded")
    assert StepRun.objects.filter(run_id=result.run_id).count() == 300


def test_what_is_left_over_at_a_join_is_known_to_the_output(make_flow, run):
    flow = make_flow(vars={"last": None}, output={"last": "vars.last"})
    again = When("iteration < 2", to=["a", "meet"])
    flow.step(name="a", next=[again, When("iteration == 2", to="meet", publish={"last": "'a'"})])(lambda: None)
    flow.step(name="b", next="meet")(lambda: None)
    flow.step(name="meet", join="all")(lambda: None)
    result = run(flow)
    assert (result.status, result.output) == ("succeeded", {"last": "a"})
