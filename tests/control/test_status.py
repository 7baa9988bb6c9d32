"""How far a run is, and lists of runs."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

import django_workflow
from django_workflow import (
    Fail,
    Flow,
    Retry,
    RetryAfter,
    RunNotFound,
    RunStatus,
    UnknownFlow,
    cancel,
    get_run_status,
    list_runs,
    testing,
)
from django_workflow.definition.elements import StepSpec, TransitionSpec
from django_workflow.definition.spec import FlowSpec
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.models import FlowVersion, Run

HOUR = timedelta(hours=1)
ONCE = Retry(max_attempts=1)


@pytest.fixture
def shop(flow):
    """Three steps in a row, the middle one a map of as many items as the input has."""
    flow.step(name="first")(lambda input: input)
    flow.map(name="each", over="first")(lambda item: item)
    flow.step(name="last", depends_on=["each"])(lambda: "done")
    return flow


def execute_next(count=1):
    """Execute so many of the queued tasks."""
    settle([testing.perform(task) for task in claim.claim("default", count, slots=count, lease=60)])


def test_status_of_a_run_on_its_way(shop, db):
    handle = shop.start([1, 2, 3, 4])
    assert get_run_status(handle) == RunStatus("running", 3, 0, 0, 0.0, ["first"], None, [])
    execute_next()
    assert get_run_status(handle) == RunStatus("running", 6, 1, 0, pytest.approx(100 / 6), ["each"], None, [])
    execute_next(2)
    assert get_run_status(handle) == RunStatus("running", 6, 3, 0, 50.0, ["each"], None, [])
    testing.run_until_idle()
    assert get_run_status(handle) == RunStatus("succeeded", 6, 6, 0, 100.0, [], {"last": "done"}, [])


def test_status_counts_failed_items_and_tells_errors(flow, db):
    flow.map(name="each", over="input", tolerate=2, retry=ONCE)(lambda item: 1 // item)
    flow.step(name="last", depends_on=["each"], retry=ONCE)(lambda: Fail("no use"))
    handle = flow.start([0, 1, 0])
    execute_next(3)
    status = get_run_status(handle)
    assert (status.settled, status.failed, status.errors) == (3, 2, [])
    testing.run_until_idle()
    status = get_run_status(handle)
    assert (status.status, status.total, status.settled, status.failed) == ("failed", 4, 4, 3)
    assert status.percentage == 25.0
    assert status.errors == handle.result().errors == [{"step": "last", "class": "Fail", "message": "no use"}]
    assert status.output == handle.result().output


def test_steps_that_a_settled_run_never_reached_count_for_its_percentage_only(shop, db):
    handle = shop.start([1, 2])
    execute_next()
    handle.cancel("enough", by="ann")
    status = get_run_status(handle)
    assert (status.status, status.total, status.settled, status.percentage) == ("cancelled", 3, 3, 25.0)
    assert (status.output, status.errors) == ({}, [handle.run.error])


def test_steps_that_were_skipped_and_joins_that_wait_count_as_one(flow, db):
    flow.step(name="skipped", when="input == 2")(lambda input: None)
    flow.step(name="slow")(lambda: RetryAfter(HOUR))
    flow.step(name="join", depends_on=["skipped", "slow"])(lambda: None)
    handle = flow.start(1)
    testing.run_until_idle()
    status = get_run_status(handle)
    assert (status.total, status.settled, status.current_steps) == (3, 1, ["slow"])


def test_map_of_nothing_counts_as_one(shop, db):
    handle = shop.start([])
    testing.run_until_idle()
    status = get_run_status(handle)
    assert (status.status, status.total, status.settled) == ("succeeded", 3, 3)


def test_scheduled_run_has_all_before_it(shop, db):
    handle = shop.start([1], delay=HOUR)
    assert get_run_status(handle) == RunStatus("scheduled", 3, 0, 0, 0.0, [], None, [])


def test_current_steps_stand_in_the_order_of_the_flow(flow, db):
    for name in ("c", "a", "b"):
        flow.step(name=name)(lambda: None)
    assert get_run_status(flow.start()).current_steps == ["c", "a", "b"]


@pytest.mark.parametrize("back_to", ["probe", "report"])
def test_nobody_tells_the_percentage_of_a_run_with_loops(shop, db, back_to):
    handle = shop.start([1])
    steps = {name: StepSpec(name, f"loop.{name}") for name in ("probe", "report")}
    ways = (TransitionSpec("probe", ("report",)), TransitionSpec("report", (back_to,)))
    spec = FlowSpec(shop.slug, steps, ways, ("probe",))
    version = FlowVersion.objects.create(flow=handle.run.flow, number=2, fingerprint="x", spec=spec.to_dict())
    assert spec.has_loops
    Run.objects.update(version=version)
    assert get_run_status(handle).percentage is None
    handle.cancel()
    assert get_run_status(handle).percentage is None


@pytest.mark.parametrize("form", ["handle", "row", "id", "text"])
def test_status_takes_a_run_in_any_form(shop, db, form):
    handle = shop.start([1])
    given = {"handle": handle, "row": handle.run, "id": handle.id, "text": str(handle.id)}[form]
    assert get_run_status(given).status == "running"


def test_status_of_a_run_that_does_not_exist_is_told(db):
    with pytest.raises(RunNotFound):
        get_run_status(uuid.uuid4())


def test_status_is_one_statement_while_the_run_goes_on(shop, workflow_queues, django_assert_num_queries):
    handle = shop.start(list(range(50)))
    execute_next()
    get_run_status(handle)
    with django_assert_num_queries(1):
        get_run_status(handle)
    testing.run_until_idle()
    with django_assert_num_queries(2):
        get_run_status(handle)


@pytest.fixture
def many(shop, make_flow, db):
    """Five runs: of two flows, with labels, in several statuses; the oldest first."""
    other = make_flow("other")
    other.step(name="only")(lambda: None)
    runs = [
        shop.start([], labels={"tenant": "a", "kind": "x"}),
        shop.start([], labels={"tenant": "b", "kind": "x"}),
        other.start(labels={"tenant": "a"}),
        shop.start([], delay=HOUR),
        other.start(),
    ]
    cancel(runs[1])
    return [run.id for run in runs]


def ids(**options):
    return [run.pk for run in list_runs(**options)]


def test_newest_runs_come_first(many):
    assert ids() == many[::-1]
    assert ids(order_by="created") == many


def test_runs_started_together_are_listed_in_the_order_of_their_inputs(shop, db):
    started = [handle.id for handle in shop.start_many([[]] * 20)]
    assert ids(order_by="created") == started
    assert ids() == started[::-1]


def test_list_is_cut_into_pages(many):
    assert ids(limit=2) == [many[4], many[3]]
    assert ids(limit=2, offset=4) == [many[0]]
    assert ids(offset=10) == []


@pytest.mark.parametrize(
    ("status", "places"),
    [("running", [4, 2, 0]), (["scheduled", "cancelled"], [3, 1]), ({"failed"}, []), ([], [])],
)
def test_list_of_one_status_or_several(many, status, places):
    assert ids(status=status) == [many[place] for place in places]


def test_list_of_a_flow_by_its_slug_or_itself(many, shop):
    assert ids(flow=shop) == ids(flow=shop.slug) == [many[3], many[1], many[0]]


def test_list_of_a_flow_that_was_never_started_is_empty(many, make_flow):
    assert ids(flow=make_flow("new")) == []


def test_all_labels_given_have_to_match(many):
    assert ids(labels={"tenant": "a"}) == [many[2], many[0]]
    assert ids(labels={"tenant": "a", "kind": "x"}) == [many[0]]
    assert ids(labels={"tenant": "c"}) == []
    assert ids(labels={}) == many[::-1]


def test_list_since_a_time_or_for_a_while(many):
    Run.objects.filter(pk__in=many[:2]).update(created_at=timezone.now() - 2 * HOUR)
    assert ids(since=HOUR) == ids(since=timezone.now() - HOUR) == many[:1:-1]


def test_runs_that_have_not_ended_come_last(many):
    testing.run_until_idle()
    assert ids(order_by="-ended", limit=4)[-1] == many[1]
    assert ids(order_by="ended")[0] == many[1]
    assert ids(order_by="ended")[-1] == ids(order_by="-ended")[-1] == many[3]
    assert ids(order_by="started")[-1] == ids(order_by="-started")[-1] == many[3]


def test_filters_are_taken_together(many, shop):
    assert ids(flow=shop, status="running", labels={"kind": "x"}, since=HOUR, order_by="created", limit=5) == [many[0]]


def test_rows_of_the_list_know_their_flow_and_read_their_input_when_asked(many, shop, django_assert_num_queries):
    with django_assert_num_queries(2):
        found = list_runs(flow=shop)
        assert {run.flow.slug for run in found} == {shop.slug}
    with django_assert_num_queries(1):
        assert found[0].input == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"status": "done"}, ValueError, "runs have no status 'done'; known: scheduled, running, paused, "),
        ({"status": ["failed", "lost", "x"]}, ValueError, "runs have no status 'lost', 'x'; known: "),
        ({"flow": "nonsense"}, UnknownFlow, "There is no flow 'nonsense', neither stored nor declared"),
        ({"flow": 3}, TypeError, "flow= takes a flow or its slug, not 3"),
        ({"since": "today"}, TypeError, "since= takes a datetime or a timedelta, not 'today'"),
        ({"since": timezone.now().replace(tzinfo=None)}, ValueError, "since= needs a time zone"),
        ({"labels": "tenant"}, TypeError, "labels are texts by name, not 'tenant'"),
        ({"labels": {"tenant": 3}}, TypeError, "labels are texts by name, not 'tenant': 3"),
        ({"limit": 0}, ValueError, "limit= must be at least 1, not 0"),
        ({"limit": "10"}, TypeError, "limit= takes a whole number, not '10'"),
        ({"offset": -1}, ValueError, "offset= must be at least 0, not -1"),
        ({"order_by": "-age"}, ValueError, "runs cannot be ordered by '-age'; known: created, -created, started, "),
        ({"order_by": None}, ValueError, "runs cannot be ordered by None"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused_clearly(db, options, error, message):
    with pytest.raises(error) as caught:
        list_runs(**options)
    assert str(caught.value).startswith(message)


def test_labels_that_are_no_texts_are_refused_at_the_start(shop, db):
    with pytest.raises(TypeError, match="labels are texts by name"):
        shop.start([], labels=["a"])


def test_twins_read_the_same(many, shop: Flow):
    async def story():
        status = await django_workflow.aget_run_status(many[0])
        return status, await django_workflow.alist_runs(flow=shop, limit=1)

    status, (newest,) = async_to_sync(story)()
    assert (status.status, newest.pk) == ("running", many[3])
