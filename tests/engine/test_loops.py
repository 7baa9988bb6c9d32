"""Transitions, variables, loops, joins and limits with the real database, in this thread and through queues."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from django_workflow import Flow, Otherwise, Retry, Skip, To, When, testing
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, handoff, outcome
from django_workflow.models import Arrival, Event, StepRun, Variables

pytestmark = pytest.mark.django_db
ONCE = Retry(max_attempts=1)


@pytest.fixture(params=["here", "queued"])
def result_of(request):
    """Runs a flow in one of both ways and returns its result."""

    def run(flow, input=None):
        if request.param == "here":
            return flow.execute(input)
        handle = flow.start(input)
        for _ in range(200):
            testing.run_until_idle()
            if handle.refresh().run.ended_at is not None:
                break
            testing.advance(timedelta(seconds=5))
        return handle.result()

    return run


def passes(result, step):
    rows = StepRun.objects.filter(run_id=result.run_id, step=step).order_by("id")
    return list(rows.values_list("scope", "iteration"))


def test_a_loop_ends_by_its_condition(result_of):
    flow = Flow("counting", vars={"count": 0}, output={"count": "vars.count"})

    @flow.step(next=[When("vars.count < 4", to="probe", publish={"count": "vars.count + 1"}), Otherwise("report")])
    def probe(ctx):
        return {"pass": ctx.iteration, "count": ctx.vars["count"]}

    @flow.step
    def report(probe):
        return probe

    result = result_of(flow)
    assert (result.status, result.output, result.counts) == ("succeeded", {"count": 4}, {"probe": 5, "report": 1})
    assert [number for _, number in passes(result, "probe")] == [1, 2, 3, 4, 5]
    assert Variables.objects.filter(run_id=result.run_id).count() == 5


def test_a_step_takes_what_the_pass_gave_that_led_to_it(result_of):
    seen = []
    flow = Flow("each_pass")
    flow.step(name="probe", next=[To("report"), When("iteration < 3", to="probe")])(lambda ctx: ctx.iteration)
    flow.step(name="report")(lambda probe: seen.append(probe) or probe)
    assert result_of(flow).status == "succeeded"
    assert sorted(seen) == [1, 2, 3]


def test_failures_are_those_of_the_pass_that_led_to_the_asking_step(result_of):
    seen = []
    flow = Flow("failing_passes", vars={"bad": 0})
    again = When("vars.bad < 2", to="work", publish={"bad": "vars.bad + 1"})

    @flow.map(over="input", tolerate=1, retry=ONCE, next=[To("report"), again])
    def work(item, ctx):
        if item == ctx.vars["bad"]:
            raise ValueError(item)

    flow.step(name="report")(lambda ctx: seen.append([failure["index"] for failure in ctx.failures("work")]))
    assert result_of(flow, [0, 1, 2]).status == "succeeded"
    assert sorted(seen) == [[0], [1], [2]]


def test_a_step_that_runs_again_gives_what_it_gave_before():
    flow = Flow("meanwhile")
    flow.step(name="probe", next=[To("between"), When("iteration < 2", to="probe")])(lambda: None)
    flow.step(name="between", next=[When("outputs.probe == 1", to="report")])(lambda: None)
    flow.step(name="report")(lambda ctx: ctx.output("probe"))
    flow.start()
    settle([outcome.succeeded(take()["probe"], "1")])
    settle([outcome.succeeded(take()["between"], "null")])  # the second pass of the other one runs
    assert testing.perform(take()["report"]).output == "1"


def take():
    """Claim all tasks, by step."""
    return {task.step.name: task for task in claim.claim("default", 10, slots=10, lease=60.0)}


def test_a_taken_step_takes_the_same_as_a_claimed_one():
    flow = Flow("taken")
    flow.step(name="probe", next=[To("report"), When("iteration < 3", to="probe")])(lambda ctx: ctx.iteration)
    flow.step(name="report")(lambda probe: None)
    flow.start()
    taker = handoff.Taker(None, 60.0, frozenset(["default"]), 2, lambda spec, step: True)
    report, again = settle([outcome.succeeded(take()["probe"], "1")], taker=taker).taken
    settle([outcome.succeeded(again, "2")])
    claimed = take()["report"]  # together with the third pass of the other one, which runs
    assert [task.dependencies["probe"].text for task in (report, claimed)] == ["1", "2"]


def test_a_step_reads_the_latest_output_of_a_loop(result_of):
    flow = Flow("latest")
    flow.step(name="probe", next=[When("iteration < 3", to="probe"), Otherwise("report")])(lambda ctx: ctx.iteration)
    flow.step(name="report")(lambda probe: {"seen": probe})
    assert result_of(flow).output == {"report": {"seen": 3}}


def test_a_failure_that_a_transition_handles_does_not_fail_the_run(result_of):
    flow = Flow("handled")

    @flow.step(next=[To("repair", on="failed", publish={"why": "error.message"}), To("report")], retry=ONCE)
    def work():
        raise ValueError("broken")

    flow.step(name="repair")(lambda ctx: ctx.vars["why"])
    flow.step(name="report")(lambda: "never")
    result = result_of(flow)
    assert (result.status, result.output) == ("succeeded", {"repair": "broken"})


def test_a_join_in_a_loop_fires_once_in_each_pass(result_of, make_flow):
    flow = make_flow("rounds", entry=["begin"], output={"rounds": "vars.rounds"}, vars={"rounds": 0})
    flow.step(name="begin", next=["left", "right"])(lambda ctx: ctx.iteration)
    flow.step(name="left", next="meet")(lambda: None)
    flow.step(name="right", next="meet")(lambda: None)
    flow.step(
        name="meet", join="all", next=[When("iteration < 3", to="begin", publish={"rounds": "iteration"}), To("done")]
    )(lambda ctx: ctx.iteration)
    flow.step(name="done")(lambda: "done")
    result = result_of(flow)
    assert result.status == "succeeded", result.error
    assert result.counts["meet"] == 3
    assert Arrival.objects.filter(run_id=result.run_id).count() == 6


def test_two_of_three_start_a_join_and_the_third_changes_nothing(result_of):
    flow = Flow("quorum")
    for name in ("a", "b", "c"):
        flow.step(name=name, next="count")(lambda: None)
    flow.step(name="count", join=2)(lambda: "counted")
    result = result_of(flow)
    assert (result.status, result.output, result.counts["count"]) == ("succeeded", {"count": "counted"}, 1)
    assert Arrival.objects.filter(run_id=result.run_id).count() == 3


def test_what_follows_a_split_is_counted_apart(result_of):
    flow = Flow("diamonds")
    flow.step(name="a", next=["b", "c"])(lambda: None)
    flow.step(name="b", next="d")(lambda: "b")
    flow.step(name="c", next="d")(lambda: "c")
    flow.step(name="d", next=["e", "f"])(lambda: None)
    flow.step(name="e", next="g")(lambda: None)
    flow.step(name="f", next="g")(lambda: None)
    flow.step(name="g", join="all")(lambda: None)
    result = result_of(flow)
    assert (result.status, result.counts["d"], result.counts["g"]) == ("succeeded", 2, 2)
    assert len({scope for scope, _ in passes(result, "g")}) == 2


def test_a_join_that_is_reached_in_part_fails_the_run_and_names_who_is_missing(result_of):
    flow = Flow("partly")
    flow.step(name="a", next="meet")(lambda: None)
    flow.step(name="b", next=[When("result == 1", to="meet")])(lambda: 2)
    flow.step(name="meet", join="all")(lambda: None)
    result = result_of(flow)
    assert (result.status, result.error["class"]) == ("failed", "JoinIncomplete")
    assert "missing: 'b'" in result.error["message"]
    assert not StepRun.objects.filter(run_id=result.run_id, status__in=("waiting", "running")).exists()


def test_delays_are_kept_into_steps_and_into_joins(result_of):
    flow = Flow("late")
    flow.step(name="a", next=[To("b", delay=timedelta(milliseconds=40)), To("meet", delay="0.02")])(lambda: None)
    flow.step(name="b", next="meet")(lambda: None)
    flow.step(name="meet", join="all")(lambda: "met")
    result = result_of(flow)
    assert (result.status, result.output) == ("succeeded", {"meet": "met"})


def test_the_pass_after_the_last_allowed_never_starts(result_of):
    flow = Flow("endless", max_iterations=5)
    flow.step(name="again", next="again")(lambda: None)
    result = result_of(flow)
    assert (result.status, result.counts) == ("failed", {"again": 5})
    assert "MAX_ITERATIONS is 5" in result.error["message"]
    assert "'again'" in result.error["message"]


def test_commands(result_of):
    flow = Flow("commands")
    flow.step(name="a", next=[To("noop", on="always")], retry=ONCE)(lambda: 1 / 0)
    assert result_of(flow).status == "succeeded"
    flow = Flow("commands_fail")
    flow.step(name="a", next=[When("result == 1", to="fail"), To("b")])(lambda: 1)
    flow.step(name="b")(lambda: 1)
    result = result_of(flow)
    assert (result.status, result.error["class"], result.counts) == ("failed", "FailCommand", {"a": 1})
    flow = Flow("commands_retry")
    flow.step(name="a", next=[When("iteration < 3", to="retry")])(lambda ctx: ctx.iteration)
    assert result_of(flow).counts == {"a": 3}
    flow = Flow("commands_continue")
    flow.step(name="a", next=[To("continue", on="failed")], retry=ONCE)(lambda: 1 / 0)
    assert result_of(flow).status == "failed"


def test_variables_merge_by_the_last_writer_of_each_name(result_of):
    flow = Flow("writers", vars={"x": 0, "y": 0}, output={"x": "vars.x", "y": "vars.y"})
    flow.step(name="a", next=[To(["b", "c"])])(lambda: None)
    flow.step(name="b", next=[To("meet", publish={"x": "1"})])(lambda: None)
    flow.step(name="c", next=[To("meet", publish={"y": "2"})])(lambda: None)
    flow.step(name="meet", join="all")(lambda ctx: ctx.vars)
    result = result_of(flow)
    assert result.output == {"x": 1, "y": 2}


def test_arguments_are_evaluated_for_each_attempt(result_of):
    flow = Flow("given", vars={"rate": 3})

    @flow.map(over="input.items", arguments={"price": "item.price * vars.rate", "kind": 7})
    def total(price, kind, index):
        return [price, kind, index]

    assert result_of(flow, {"items": [{"price": 2}, {"price": 5}]}).output == {"total": [[6, 7, 0], [15, 7, 1]]}


def test_a_map_in_a_loop_takes_its_items_from_variables(result_of):
    flow = Flow("pages", vars={"todo": [1, 2, 3]}, output={"left": "vars.todo"})
    flow.map(
        name="work",
        over="vars.todo",
        next=[When("len(result) > 1", to="work", publish={"todo": "result[1:]"}), Otherwise("done")],
    )(lambda item: item)
    flow.step(name="done")(lambda: None)
    result = result_of(flow)
    assert (result.status, result.output, result.counts["work"]) == ("succeeded", {"left": [3]}, 6)


def test_an_error_in_a_condition_names_its_place(result_of):
    flow = Flow("wrong")
    flow.step(name="a", next=[When("result.missing > 1", to="b")])(lambda: {"x": 1})
    flow.step(name="b")(lambda: None)
    result = result_of(flow)
    assert result.status == "failed"
    assert "transition 1 of step 'a'" in result.error["message"]
    assert "missing" in result.error["message"]


def test_a_skipped_step_leads_on_where_a_transition_says_so(result_of):
    flow = Flow("skipping")
    flow.step(name="a", next=[To("b", on="skipped"), To("c")])(lambda: Skip("not today"))
    flow.step(name="b")(lambda: "b")
    flow.step(name="c")(lambda: "c")
    assert result_of(flow).output == {"b": "b"}


def test_a_later_generation_that_is_left_over_is_a_warning(result_of):
    flow = Flow("left")
    flow.step(name="a", next=[When("iteration < 2", to="a"), To("meet")])(lambda: None)
    flow.step(name="b", next="meet")(lambda: None)
    flow.step(name="meet", join="all")(lambda: None)
    result = result_of(flow)
    assert (result.status, result.counts["meet"]) == ("succeeded", 1)
    assert Event.objects.filter(run_id=result.run_id, type="step.left_over").count() == 1


def test_repeated_publishing_at_the_end_makes_the_output(result_of):
    flow = Flow("closing", output={"seen": "vars.seen", "a": "outputs.a"})
    flow.step(name="a", next=[To("noop", publish={"seen": "result"})])(lambda: [1])
    assert result_of(flow).output == {"seen": [1], "a": [1]}


def settled_together(flow, count, step):
    """Start runs, end a step of all of them in one pile; return how many statements were about variables."""
    handles = flow.start_many(range(count))
    asked = []

    def note(execute, sql, params, many, context):
        asked.append(f"{sql} {params}")
        return execute(sql, params, many, context)

    while True:
        tasks = claim.claim("default", 100, slots=100, lease=60.0)
        assert tasks
        pile = [outcome.succeeded(task, "1") for task in tasks]
        if any(task.step.name == step for task in tasks):
            with connection.execute_wrapper(note):
                settle(pile, wait_ms=1000)
            break
        settle(pile, wait_ms=1000)
    testing.run_until_idle()
    assert {handle.status for handle in handles} == {"succeeded"}
    return sum("django_workflow_variables" in text for text in asked)


def publishing():
    flow = Flow("publishing", vars={"n": 0})
    flow.step(name="begin", next="a")(lambda: 1)
    flow.step(name="a", next=[When("vars.n < 3", to="b", publish={"n": "vars.n + 1"})])(lambda: 1)
    flow.step(name="b")(lambda: 1)
    return flow


def merging():
    flow = Flow("merging", vars={"n": 0}, entry=["left", "right"])
    flow.step(name="left", next=[To("a", publish={"left": 1})])(lambda: 1)
    flow.step(name="right", next=[To("meet", publish={"right": 1})])(lambda: 1)
    flow.step(name="a", next="meet")(lambda: 1)
    flow.step(name="meet", join="all")(lambda: 1)
    return flow


def telling():
    flow = Flow("telling", output={"left": "vars.left", "right": "vars.right"}, entry=["left", "right"])
    flow.step(name="left", next=[To("a", publish={"left": 1})])(lambda: 1)
    flow.step(name="right", next=[To("noop", publish={"right": 1})])(lambda: 1)
    flow.step(name="a")(lambda: 1)
    return flow


@pytest.mark.parametrize("declare", [publishing, merging, telling])
def test_a_settle_takes_as_many_statements_for_the_variables_of_many_runs_as_for_few(declare):
    flow = declare()
    assert 0 < settled_together(flow, 5, "a") == settled_together(flow, 20, "a")
