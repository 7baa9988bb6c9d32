"""Map steps: sources, order, emptiness, limits on what is in flight and on what may fail."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_workflow import Fail, Retry, RetryAfter, Skip, testing
from django_workflow.engine.tasks import claim
from django_workflow.models import StepRun, Task

ONCE = Retry(max_attempts=1)


def statuses(run_id, step):
    tasks = Task.objects.filter(step_run__run_id=run_id, step_run__step=step).order_by("index")
    return [f"{task.status} {task.hold_reason}".strip() for task in tasks]


def test_item_and_index_arrive_and_outputs_keep_their_order(flow, run):
    @flow.map(over="input")
    def each(item, index):
        return [item, index]

    assert run(flow, ["a", None, 0])["each"] == [["a", 0], [None, 1], [0, 2]]


def test_order_is_that_of_the_items_whatever_ends_first(flow, db):
    @flow.map(over="input")
    def each(item):
        return RetryAfter(timedelta(hours=1)) if item == 0 and not done else item

    done = []
    handle = flow.start(list(range(5)))
    testing.run_until_idle()
    done.append(True)
    testing.advance(timedelta(hours=1))
    testing.run_until_idle()
    assert handle.result()["each"] == [0, 1, 2, 3, 4]


def test_single_element_gives_a_list_of_one(flow, run):
    @flow.map(over="input")
    def each(item):
        return item

    assert run(flow, ["x"])["each"] == ["x"]


def test_count_gives_the_index_only(flow, run):
    @flow.map(count=3)
    def each(index):
        return index * 10

    assert run(flow)["each"] == [0, 10, 20]


@pytest.mark.parametrize(
    ("over", "input"),
    [
        ("input", [1, 2]),
        ("input.items", {"items": [1, 2]}),
        ("input.a.b", {"a": {"b": [1, 2]}}),
        ("source", [1, 2]),
        ("source.items", {"items": [1, 2]}),
        ("source.a.b", {"a": {"b": [1, 2]}}),
    ],
)
def test_source_is_a_path(flow, run, over, input):
    @flow.step
    def source(input):
        return input

    flow.map(name="each", over=over)(lambda item: item + 1)
    assert run(flow, input)["each"] == [2, 3]


def test_map_over_a_map_takes_its_outputs(flow, run):
    @flow.map(over="input")
    def double(item):
        return item * 2

    @flow.map(over="double")
    def next_one(item):
        return item + 1

    assert run(flow, [1, 2])["next_one"] == [3, 5]


def test_dependent_of_a_map_receives_the_list_and_other_inputs_reach_each_item(flow, run):
    @flow.step
    def factor():
        return 10

    @flow.map(over="input")
    def each(item, factor, input):
        return item * factor + len(input)

    @flow.step
    def total(each):
        return sum(each)

    assert run(flow, [1, 2])["total"] == 34


def test_empty_list_succeeds_without_a_task_and_dependents_go_on(flow, run):
    flow.map(name="each", over="input")(lambda item: item)
    flow.step(name="after")(lambda each: each)
    result = run(flow, [])
    assert result.output == {"after": []}
    assert result.counts == {"after": 1}
    assert testing.assert_settled(result.run_id, steps={"each": "succeeded"})


def test_count_of_zero_is_an_empty_list(flow, run):
    flow.map(name="each", count=0)(lambda: None)
    assert run(flow).output == {"each": []}


def test_thousand_chained_empty_maps_settle_with_the_start(flow, db):
    flow.map(name="m0", over="input")(lambda item: item)
    for number in range(1, 1000):
        flow.map(name=f"m{number}", over=f"m{number - 1}")(lambda item: item)
    handle = flow.start([])
    assert handle.result().output == {"m999": []}
    assert StepRun.objects.filter(run_id=handle.id, status="succeeded").count() == 1000
    assert not Task.objects.of_run(handle.id).exists()


def test_skipped_source_is_an_empty_list(flow, run):
    flow.step(name="source")(lambda: Skip("none today"))
    flow.map(name="each", over="source.items")(lambda item: item)
    flow.step(name="after")(lambda each: each)
    assert run(flow).output == {"after": []}


@pytest.mark.parametrize(("value", "kind"), [({"a": 1}, "dict"), ("text", "str"), (None, "NoneType"), (3, "int")])
def test_source_that_is_no_list_fails_naming_both_steps_and_the_type(flow, run, value, kind):
    flow.step(name="source")(lambda: value)
    flow.map(name="each", over="source")(lambda item: item)
    result = run(flow)
    assert result.status == "failed"
    assert (result.error["step"], result.error["class"]) == ("each", "TypeViolation")
    assert "'each' maps over 'source'" in result.error["message"]
    assert f"{kind} found" in result.error["message"]


def test_path_that_leads_nowhere_fails_naming_it(flow, run):
    flow.step(name="source")(lambda: {"a": {"c": []}})
    flow.map(name="each", over="source.a.b")(lambda item: item)
    error = run(flow).error
    assert error["class"] == "TypeViolation"
    assert "gave no 'source.a.b'" in error["message"]


def test_never_more_items_in_flight_than_max_parallel_and_all_run(flow, db):
    flow.map(name="each", over="input", max_parallel=3)(lambda item: item)
    handle = flow.start(list(range(10)))
    assert statuses(handle.id, "each") == ["queued"] * 3 + ["held parallel"] * 7
    most = 0
    while handle.status == "running":
        tasks = claim.claim("default", 100, slots=100, lease=60)
        most = max(most, len(tasks))
        live = Task.objects.of_run(handle.id).filter(status__in=("queued", "running")).count()
        assert live <= 3
        for task in tasks[:1] if len(tasks) > 1 else tasks:
            testing.settle([testing.perform(task)])
        testing.settle([testing.perform(task) for task in tasks[1:]])
    assert most == 3
    assert handle.result()["each"] == list(range(10))


def test_max_parallel_holds_in_local_runs_too(flow, db):
    flow.map(name="each", over="input", max_parallel=1)(lambda item: item)
    assert flow.execute([1, 2, 3])["each"] == [1, 2, 3]


def test_item_that_backs_off_keeps_its_place(flow, db):
    @flow.map(over="input", max_parallel=2)
    def each(item, ctx):
        return RetryAfter(timedelta(hours=1)) if item == 0 and ctx.attempt == 1 else item

    handle = flow.start([0, 1, 2])
    testing.run_until_idle()
    assert statuses(handle.id, "each") == ["queued", "succeeded", "succeeded"]
    assert Task.objects.of_run(handle.id).first().attempt == 1


def test_place_of_a_failed_item_goes_to_the_next(flow, run):
    @flow.map(over="input", max_parallel=1, tolerate=2, retry=ONCE)
    def each(item):
        return item if item > 1 else Fail("no")

    assert run(flow, [0, 1, 2, 3])["each"] == [None, None, 2, 3]


def test_first_exhausted_item_fails_the_step_and_cancels_its_siblings(flow, db):
    ran = []

    @flow.map(over="input", retry=ONCE)
    def each(item):
        ran.append(item)
        raise ValueError(f"item {item}")

    result = flow.execute([0, 1, 2])
    assert ran == [0]
    assert (result.status, result.error["step"], result.error["message"]) == ("failed", "each", "item 0")
    assert statuses(result.run_id, "each") == ["failed", "cancelled", "cancelled"]


def test_siblings_of_a_skipped_map_are_cancelled_and_the_run_goes_on(flow, run):
    @flow.map(over="input", retry=ONCE, max_parallel=2, on_exhausted="skip")
    def each(item):
        raise ValueError(item)

    flow.step(name="after")(lambda ctx, each="absent": [each, ctx.skipped("each")])
    result = run(flow, [0, 1, 2, 3])
    assert result.output == {"after": ["absent", True]}
    assert set(statuses(result.run_id, "each")) == {"failed", "cancelled"}
    assert not Task.objects.of_run(result.run_id).unsettled().exists()


@pytest.mark.parametrize(
    ("tolerate", "bad", "status"),
    [(0, 1, "failed"), (2, 2, "succeeded"), (2, 3, "failed"), (0.5, 5, "succeeded"), (0.5, 6, "failed")],
)
def test_tolerated_failures_leave_none_in_their_places(flow, run, tolerate, bad, status):
    @flow.map(over="input", tolerate=tolerate, retry=ONCE)
    def each(item):
        return Fail("bad") if item < bad else item

    result = run(flow, list(range(10)))
    assert result.status == status
    if status == "succeeded":
        assert result["each"] == [None] * bad + list(range(bad, 10))


def test_context_tells_which_items_failed_and_why(flow, run):
    @flow.map(over="input", tolerate=1, retry=ONCE)
    def each(item):
        if item == "b":
            raise LookupError("no b")
        return item

    @flow.step
    def report(each, ctx):
        return ctx.failures("each")

    result = run(flow, ["a", "b", "c"])
    assert result["report"] == [{"index": 1, "class": "LookupError", "message": "no b"}]
    assert StepRun.objects.get(run_id=result.run_id, step="each").failed_count == 1


def test_skipped_item_leaves_none_and_is_no_failure(flow, run):
    @flow.map(over="input")
    def each(item):
        return Skip("odd") if item % 2 else item

    @flow.step
    def after(each, ctx):
        return [each, ctx.failures("each")]

    assert run(flow, [0, 1, 2])["after"] == [[0, None, 2], []]


def test_more_tasks_than_a_run_may_have_fail_it_before_any_is_made(make_flow, run):
    flow = make_flow(max_tasks=5)
    flow.map(name="three", over="input")(lambda item: item)
    flow.map(name="again", over="three")(lambda item: item)
    result = run(flow, [1, 2, 3])
    assert result.error["step"] == "again"
    assert "MAX_TASKS is 5; step 'again' would bring the run to 6 tasks" in result.error["message"]
    assert result.counts == {"three": 3}


def test_items_are_written_in_chunks_and_stay_in_order(flow, db, monkeypatch):
    monkeypatch.setattr("django_workflow.engine.writing.tasks.CHUNK", 7)
    flow.map(name="each", over="input")(lambda item, index: [item, index])
    handle = flow.start(list(range(20)))
    testing.run_until_idle()
    assert handle.result()["each"] == [[n, n] for n in range(20)]


def test_map_with_as_many_items_as_its_run_may_have_is_fine(make_flow, run):
    flow = make_flow(max_tasks=3)
    flow.map(name="each", count=3)(lambda index: index)
    assert run(flow)["each"] == [0, 1, 2]
