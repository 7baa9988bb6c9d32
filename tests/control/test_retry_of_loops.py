"""Retrying runs whose flow decides on its way: what has been stays, what was open at the end is begun anew."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from django_workflow import NotSupported, Otherwise, Retry, To, When, testing
from django_workflow.engine.retrying.rehearsal import rehearse
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, outcome
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.models import Arrival, StepRun, Task

pytestmark = pytest.mark.django_db
ONCE = Retry(max_attempts=1)


@pytest.fixture
def broken():
    """What makes handlers fail as long as it is in here."""
    return {"work"}


def finished(handle):
    for _ in range(50):
        testing.run_until_idle()
        if handle.refresh().run.ended_at is not None:
            break
        testing.advance(timedelta(seconds=5))
    return handle.result()


def test_a_loop_goes_on_in_the_pass_that_failed(flow, broken):
    seen = []

    @flow.step(
        retry=ONCE,
        next=[When("vars.count < 4", to="work", publish={"count": "vars.count + 1"}), Otherwise("report")],
    )
    def work(ctx):
        if ctx.iteration == 3 and broken:
            raise ValueError("broken")
        seen.append(ctx.iteration)
        return ctx.vars["count"]

    flow.step(name="report")(lambda work: f"last count: {work}")
    flow.options = type(flow.options)(vars={"count": 0})
    failed = flow.start()
    assert finished(failed).status == "failed"
    broken.clear()
    result = finished(failed.retry(by="ada"))
    assert (result.status, result.output) == ("succeeded", {"report": "last count: 4"})
    assert seen == [1, 2, 3, 4, 5], "what has been is not done again"
    assert result.counts == {"work": 5, "report": 1}


def test_a_join_keeps_who_has_arrived(flow, broken):
    def work():
        if broken:
            raise ValueError("broken")
        return 2

    flow.step(name="a", next="meet")(lambda: 1)
    flow.step(name="work", next="meet", retry=ONCE)(work)
    flow.step(name="meet", join="all")(lambda a, work: a + work)
    failed = flow.start()
    assert finished(failed).status == "failed"
    broken.clear()
    retried = failed.retry()
    assert StepRun.objects.get(run_id=retried.id, step="meet").status == "waiting"
    assert Arrival.objects.filter(run_id=retried.id).count() == 1
    assert finished(retried).output == {"meet": 3}


def test_what_was_open_when_a_run_was_cancelled_is_begun_anew(flow):
    flow.step(name="a", next=["b", To("late", delay=timedelta(hours=1)), To("meet", delay=timedelta(hours=1))])(
        lambda: None
    )
    flow.step(name="b", next="meet")(lambda: "b")
    flow.step(name="late")(lambda: "late")
    flow.step(name="meet", join="all")(lambda: "met")
    handle = flow.start()
    testing.run_until_idle()
    handle.cancel()
    result = finished(handle.retry())
    assert (result.status, result.output) == ("succeeded", {"late": "late", "meet": "met"})


def test_scopes_stay_apart(flow, broken):
    def work(ctx):
        if broken and ctx.output("d") == "c":
            raise ValueError("broken")

    flow.step(name="a", next=["b", "c"])(lambda: None)
    flow.step(name="b", next="d")(lambda: "b")
    flow.step(name="c", next="d")(lambda: "c")
    flow.step(name="d", next=["e", "work"])(lambda ctx: "b" if ctx._task.scope == 0 else "c")
    flow.step(name="e", next="g")(lambda: None)
    flow.step(name="work", next="g", retry=ONCE)(work)
    flow.step(name="g", join="all")(lambda: None)
    failed = flow.start()
    assert finished(failed).status == "failed"
    broken.clear()
    result = finished(failed.retry())
    assert (result.status, result.counts["g"], result.counts["d"]) == ("succeeded", 2, 2)
    assert len({scope for (scope,) in StepRun.objects.filter(run_id=result.run_id, step="g").values_list("scope")}) == 2


def test_only_failed_items_of_a_map_are_done_again(flow, broken):
    seen = []

    def work(item):
        if item == 2 and broken:
            raise ValueError("broken")
        seen.append(item)
        return item

    flow.map(name="work", over="input", retry=ONCE, next=[When("len(result) == 3", to="report")])(work)
    flow.step(name="report")(lambda work: work)
    failed = flow.start([1, 2, 3])
    assert finished(failed).status == "failed"
    done = list(Task.objects.filter(run_id=failed.id, status="succeeded").values_list("item", flat=True))
    seen.clear()
    broken.clear()
    result = finished(failed.retry())
    assert result.output == {"report": [1, 2, 3]}
    assert (done, seen) == ([1], [2, 3])
    assert Task.objects.filter(run_id=result.run_id, origin="carried").count() == 1


def test_a_handled_failure_stays_as_it_is(flow, broken):
    def work():
        raise ValueError("always")

    def last():
        if broken:
            raise ValueError("broken")
        return "done"

    flow.step(name="work", retry=ONCE, next=[To("noop", on="failed")])(work)
    flow.step(name="other", next="last")(lambda: None)
    flow.step(name="last", retry=ONCE)(last)
    failed = flow.start()
    assert finished(failed).status == "failed"
    broken.clear()
    result = finished(failed.retry())
    assert (result.status, result.counts) == ("succeeded", {"work": 1, "other": 1, "last": 1})
    assert Task.objects.filter(run_id=result.run_id, origin="carried").count() == 2


@pytest.mark.parametrize("how", [{"from_step": "again"}, {"input": 2}])
def test_other_retries_of_such_runs_are_refused_with_the_reason(flow, how):
    flow.step(name="again", retry=ONCE, next=[When("input == 7", to="again")])(lambda: 1 / 0)
    failed = flow.start(1)
    finished(failed)
    with pytest.raises(NotSupported, match=r"decides on its way .* mode='all'"):
        failed.retry(**how)
    assert finished(failed.retry("all")).counts == {"again": 1}


def test_a_run_that_no_step_has_ended_says_so(flow):
    flow.step(name="a", next="meet")(lambda: None)
    flow.step(name="b", next=[When("result == 1", to="meet")])(lambda: 2)
    flow.step(name="meet", join="all")(lambda: None)
    failed = flow.start()
    assert finished(failed).status == "failed"
    with pytest.raises(NotSupported, match="no step that could be begun anew: join 'meet' waits"):
        failed.retry()


def test_a_rehearsal_tells_what_is_kept_and_what_is_begun_anew(flow):
    flow.step(name="work", retry=ONCE, next=[When("iteration < 5", to="work"), Otherwise("report")])(
        lambda ctx: 1 / (3 - ctx.iteration)
    )
    flow.step(name="report")(lambda: None)
    failed = flow.start()
    finished(failed)
    rehearsal = rehearse(failed.id, RetryRequest())
    told = {item.step: (item.fate, item.carried, item.executed) for item in rehearsal.steps}
    assert told == {"work": ("partly", 2, 1), "report": ("executed", 0, None)}


def end_together(*failing, first):
    """Claim all that is queued and settle it as one pile: some steps fail, and those of `first` are looked at first."""
    tasks = claim.claim("default", 100, slots=100, lease=60.0)
    tasks.sort(key=lambda task: task.step.name not in first)
    error = ErrorRecord.of(ValueError("broken"))
    broken, good = partial(outcome.failed, error=error, is_retryable=False), partial(outcome.succeeded, output="1")
    settle([(broken if task.step.name in failing else good)(task) for task in tasks])


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_branch_that_ended_with_the_failure_goes_on(flow, first):
    """One decision sees both, and what it would have started does not start: its retry starts it."""
    flow.step(name="a", next="a2")(lambda: "a")
    flow.step(name="b", next="b2")(lambda: "b")
    flow.step(name="a2")(lambda: "a2")
    flow.step(name="b2")(lambda: "b2")
    failed = flow.start()
    end_together("b", first=first)
    assert failed.refresh().status == "failed"
    result = finished(failed.retry())
    assert (result.status, result.output) == ("succeeded", {"a2": "a2", "b2": "b2"})
    assert Task.objects.get(run_id=result.run_id, step_run__step="a").origin == "carried"


@pytest.mark.parametrize("first", ["a", "b"])
def test_who_reached_a_join_with_the_failure_reaches_it_again(flow, first):
    flow.step(name="a", next="meet")(lambda: 1)
    flow.step(name="b", next="meet")(lambda: 2)
    flow.step(name="meet", join="all")(lambda: "met")
    failed = flow.start()
    end_together("b", first=first)
    assert finished(failed.retry()).output == {"meet": "met"}


def test_two_failures_at_once_are_both_repeated(flow):
    flow.step(name="a", next="a2")(lambda: 1)
    flow.step(name="b", next="a2")(lambda: 2)
    flow.step(name="a2")(lambda: None)
    failed = flow.start()
    end_together("a", "b", first="a")
    result = finished(failed.retry())
    assert (result.status, result.counts) == ("succeeded", {"a": 1, "b": 1, "a2": 2})


def test_what_was_skipped_by_the_decision_that_failed_is_decided_again(flow):
    flow.step(name="a", next=["skipped", "meet"])(lambda: 1)
    flow.step(name="skipped", when="false", next=To("meet", on="always"))(lambda: None)
    flow.step(name="b", next="meet")(lambda: 2)
    flow.step(name="meet", join="all")(lambda: "met")
    failed = flow.start()
    end_together("b", first="a")
    result = finished(failed.retry())
    assert (result.status, result.output) == ("succeeded", {"meet": "met"})
    assert StepRun.objects.filter(run_id=result.run_id, step="skipped").count() == 1


def test_a_run_whose_start_failed_begins_anew(flow):
    flow.step(name="a", next="last")(lambda: 1)
    flow.step(name="b", when="input.is_wanted", next="last")(lambda: 2)
    flow.step(name="last")(lambda: None)
    failed = flow.start({})
    assert failed.status == "failed"
    retried = failed.retry()
    assert (retried.status, retried.id != failed.id) == ("failed", True)
    assert "condition of step 'b'" in retried.result().error["message"]


def test_a_run_goes_on_where_its_limit_stopped_it_once_that_is_higher(flow, settings):
    settings.DJANGO_WORKFLOW = {"MAX_ITERATIONS": 3}
    seen = []
    flow.step(name="a", next=[To("side"), When("iteration < 5", to="a")])(lambda ctx: seen.append(ctx.iteration))
    flow.step(name="side")(lambda: None)
    failed = flow.start()
    assert "MAX_ITERATIONS is 3" in finished(failed).error["message"]
    with pytest.raises(NotSupported, match="would fail at once: MAX_ITERATIONS is 3"):
        failed.retry()
    settings.DJANGO_WORKFLOW = {}
    result = finished(failed.retry())
    assert (result.status, result.counts) == ("succeeded", {"a": 5, "side": 5})
    assert seen == [1, 2, 3, 4, 5]


def test_what_could_not_be_decided_is_executed_anew(flow, broken):
    flow.step(name="a", next=[When("result.size > 1", to="b")])(lambda: {} if broken else {"size": 2})
    flow.step(name="b")(lambda a: a["size"])
    failed = flow.start()
    assert finished(failed).status == "failed"
    broken.clear()
    assert finished(failed.retry()).output == {"b": 2}


def test_a_run_that_only_waited_for_a_delayed_arrival_goes_on(flow):
    flow.step(name="a", next=To("meet", delay=timedelta(hours=1)))(lambda: 1)
    flow.step(name="b", next="meet")(lambda: 2)
    flow.step(name="meet", join="all")(lambda: "met")
    handle = flow.start()
    testing.run_until_idle()
    handle.cancel()
    assert finished(handle.retry()).output == {"meet": "met"}


def test_an_arrival_that_completed_a_join_which_failed_at_once_arrives_again(flow):
    flow.step(name="a", next=To("meet", delay=timedelta(seconds=10), publish={"size": "result"}))(lambda: 1)
    flow.step(name="b", next="meet")(lambda: 2)
    flow.step(name="meet", join="all", when="vars.size.unit == 1")(lambda: "met")
    failed = flow.start()
    assert "condition of step 'meet'" in finished(failed).error["message"]
    retried = failed.retry()
    assert retried.status == "running", "the join waits for what is on its way"
    assert "condition of step 'meet'" in finished(retried).error["message"]


def test_failures_that_were_tolerated_are_known_in_the_retry(flow, broken):
    seen = []

    def work(item):
        if item == 2:
            raise ValueError("two")
        return item

    def last(ctx):
        seen.append([failure["index"] for failure in ctx.failures("work")])
        if broken:
            raise ValueError("broken")

    flow.map(name="work", over="input", tolerate=1, retry=ONCE, next="last")(work)
    flow.step(name="last", retry=ONCE, next=[When("false", to="last")])(last)
    failed = flow.start([1, 2, 3])
    assert finished(failed).status == "failed"
    broken.clear()
    assert finished(failed.retry()).status == "succeeded"
    assert seen == [[1], [1]]
