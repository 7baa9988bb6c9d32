"""Retrying a run: what is carried over, what is executed again, and what is refused."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_workflow import (
    AlreadySettled,
    Fail,
    Flow,
    FlowBuilder,
    NotSupported,
    PayloadError,
    Retry,
    RunHandle,
    RunNotFound,
    Skip,
    UnregisteredHandler,
    condition,
    db,
    dead_letters,
    dismiss_dead_letters,
    execute_dynamic,
    pause_flow,
    resume_flow,
    retry,
    retry_dead_letters,
    testing,
)  # fmt: skip
from django_workflow.definition.registry import registry
from django_workflow.engine.removal.retention import prune
from django_workflow.engine.retrying.rehearsal import rehearse
from django_workflow.engine.retrying.request import RetryRequest
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim
from django_workflow.engine.verbs.pause import pause_with_flow
from django_workflow.models import Attempt, Event, FlowVersion, Run, StepRun, Task
from tests.plans import scanned
from tests.waiting import eventually

ONCE = Retry(max_attempts=1)
HOUR = timedelta(hours=1)


class Story:
    """What handlers did, and which of them still fail."""

    def __init__(self) -> None:
        self.calls: Counter = Counter()
        self.broken: set = set()

    def did(self, what, value=None):
        """Note an effect; return the value, or fail."""
        self.calls[what] += 1
        if what in self.broken:
            raise RuntimeError(f"{what} is broken")
        return value

    def told(self):
        """Return the effects since the last time."""
        calls, self.calls = self.calls, Counter()
        return dict(calls)


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def diamond(make_flow, story):
    """A root, two branches, a join."""
    flow = make_flow("diamond", retry=ONCE)
    flow.step(name="root")(lambda: story.did("root", 1))
    flow.step(name="left")(lambda root: story.did("left", root + 10))
    flow.step(name="right")(lambda root: story.did("right", root + 20))
    flow.step(name="join")(lambda left, right: story.did("join", [left, right]))
    return flow


def finish(handle):
    testing.run_until_idle()
    return handle.result()


def start(flow, input=None, **options):
    handle = flow.start(input, **options)
    testing.run_until_idle()
    return handle


def test_steps_that_succeeded_are_carried_over_and_the_rest_runs_again(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    assert old.status == "failed"
    assert story.told() == {"root": 1, "left": 1, "right": 1}
    story.broken = set()
    new = old.retry(reason="repaired", by="ann")
    assert new != old
    assert finish(new).output == {"join": [11, 21]}
    assert story.told() == {"right": 1, "join": 1}
    assert (new.run.retry_of_id, new.run.started_by, old.status) == (old.id, "ann", "failed")
    assert dict(Task.objects.of_run(new.id).values_list("step_run__step", "origin")) == {
        "root": "carried", "left": "carried", "right": "", "join": "",
    }  # fmt: skip
    first = Event.objects.filter(run_id=new.id).order_by("number").first()
    assert (first.type, first.data) == (
        "run.started", {"retry_of": str(old.id), "mode": "failed", "by": "ann", "reason": "repaired"},
    )  # fmt: skip
    told = Event.objects.filter(run_id=new.id, type__startswith="step.").values_list("step", flat=True)
    assert set(told) == {"right", "join"}


def test_from_step_repeats_one_branch_and_the_join_of_a_succeeded_diamond(diamond, story, db):
    old = start(diamond)
    story.told()
    assert finish(old.retry(from_step="left")).output == {"join": [11, 21]}
    assert story.told() == {"left": 1, "join": 1}


def test_mode_all_repeats_everything(diamond, story, db):
    old = start(diamond)
    story.told()
    assert finish(old.retry("all")).is_success
    assert story.told() == {"root": 1, "left": 1, "right": 1, "join": 1}


def test_labels_and_title_are_kept_and_the_idempotency_key_is_not(diamond, story, db):
    story.broken = {"root"}
    old = start(diamond, {"n": 1}, labels={"team": "a"}, title="Order 1", idempotency_key="k")
    new = old.retry().run
    assert (new.labels, new.title, new.input, new.idempotency_key) == ({"team": "a"}, "Order 1", {"n": 1}, None)
    assert new.deadline_at > old.run.deadline_at


def fails_on(story, *indexes):
    story.broken = {("each", index) for index in indexes}


@pytest.fixture
def thousand(make_flow, story):
    """A map of 1,000 items, of which seven may fail, last; a step before and one after it."""
    flow = make_flow("thousand", retry=ONCE)
    flow.step(name="numbers")(lambda: story.did("numbers", list(range(1000))))
    flow.map(name="each", over="numbers", tolerate=6)(lambda item, index: story.did(("each", index), item * 2))
    flow.step(name="after")(lambda each: story.did("after", sum(each)))
    return flow


@pytest.mark.slow
def test_of_a_thousand_items_the_seven_that_failed_run_again(thousand, story, db, django_assert_max_num_queries):
    failed = range(993, 1000)
    fails_on(story, *failed)
    old = start(thousand)
    assert old.status == "failed"
    assert sum(story.told().values()) == 1001
    fails_on(story)
    with django_assert_max_num_queries(25):  # however many items it has
        new = old.retry()
    assert Task.objects.of_run(new.id).unsettled().count() == 7
    assert finish(new).output == {"after": 999_000}
    assert story.told() == {**{("each", index): 1 for index in failed}, "after": 1}
    assert Task.objects.of_run(new.id).filter(origin="carried").count() == 994


@pytest.mark.usefixtures("workflow_queues")
def test_of_a_thousand_items_the_seven_that_failed_run_again_in_a_worker(make_flow, work):
    effects, lock = Counter(), threading.Lock()
    flow = make_flow("thousand", retry=ONCE)
    broken = set(range(5, 1000, 150))
    assert len(broken) == 7

    @flow.map(count=1000, tolerate=6)
    def each(index, ctx):
        with lock:
            effects[index] += 1
        if index in broken:
            done = Task.objects.filter(run_id=ctx.run_id, status="succeeded")
            eventually(lambda: done.count() == 993)
            raise RuntimeError
        return index

    @flow.step
    def after(each):
        with lock:
            effects["after"] += 1
        return sum(each)

    old = flow.start()
    work(concurrency=16)
    assert old.wait(60).status == "failed"
    assert sum(effects.values()) == 1000
    effects.clear()
    again, broken = set(broken), set()
    assert old.retry().wait(60).output == {"after": sum(range(1000))}
    assert effects == {**dict.fromkeys(again, 1), "after": 1}


def test_items_that_were_cancelled_run_again_too(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(over="input", max_parallel=1, name="each")(lambda item, index: story.did(("each", index), item))
    fails_on(story, 2)
    old = start(flow, ["a", "b", "c", "d", "e"])
    assert list(story.told()) == [("each", 0), ("each", 1), ("each", 2)]
    fails_on(story)
    new = old.retry()
    assert list(Task.objects.of_run(new.id).unsettled().values_list("index", "status", "item", "hold_reason")) == [
        (2, "queued", "c", ""), (3, "held", "d", "parallel"), (4, "held", "e", "parallel"),
    ]  # fmt: skip
    assert finish(new)["each"] == ["a", "b", "c", "d", "e"]
    assert list(story.told()) == [("each", 2), ("each", 3), ("each", 4)]


def test_skipped_items_are_not_tried_again(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(count=3, name="each")(lambda index: story.did(("each", index), Skip() if index == 0 else index))
    fails_on(story, 2)
    old = start(flow)
    story.told()
    fails_on(story)
    assert finish(old.retry())["each"] == [None, 1, 2]
    assert story.told() == {("each", 2): 1}


def test_a_retry_of_a_retry_carries_on(diamond, story, db):
    story.broken = {"right", "join"}
    first = start(diamond)
    story.broken = {"join"}
    second = first.retry()
    assert finish(second).status == "failed"
    story.broken = set()
    story.told()
    third = second.retry()
    assert finish(third).output == {"join": [11, 21]}
    assert story.told() == {"join": 1}
    assert third.run.retry_of_id == second.id


def test_what_was_carried_outlives_the_run_it_came_from(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    new = old.retry()
    prune(timedelta(0))
    assert not Run.objects.filter(pk=old.id).exists()
    story.broken = set()
    assert finish(new).output == {"join": [11, 21]}


def test_an_unsettled_retry_is_returned_instead_of_another(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    new = old.retry()
    assert old.retry(mode="all") == new
    finish(new)
    assert old.retry() != new


def test_a_cancelled_run_goes_on_where_it_was(diamond, story, db):
    old = diamond.start()
    (task,) = claim.claim("default", 1, slots=1, lease=60)
    settle([testing.perform(task)])
    old.cancel()
    story.told()
    assert finish(old.retry()).output == {"join": [11, 21]}
    assert story.told() == {"left": 1, "right": 1, "join": 1}


def test_a_run_that_never_began_begins(diamond, story, db):
    old = diamond.start(delay=HOUR)
    old.cancel()
    assert finish(old.retry()).is_success
    assert sum(story.told().values()) == 4


def test_an_unsettled_run_is_not_retried(diamond, db):
    with pytest.raises(NotSupported, match="is running; only a settled run can be retried"):
        diamond.start().retry()


def test_a_run_in_which_nothing_failed_asks_for_a_step(diamond, db):
    with pytest.raises(NotSupported, match=r"Nothing failed .* Say from_step=") as caught:
        start(diamond).retry()
    assert caught.value.remedy == "from_step"


def test_an_unknown_run_or_step_or_mode_is_told(diamond, db):
    with pytest.raises(RunNotFound):
        retry(uuid.uuid4())
    old = start(diamond)
    with pytest.raises(NotSupported, match="no step 'nowhere' to begin from, only root, left, right, join"):
        old.retry(from_step="nowhere")
    for wrong in ({"mode": "some"}, {"mode": "all", "from_step": "left"}, {"version": "newest"}):
        with pytest.raises(ValueError, match=r"mode|from_step|version"):
            old.retry(**wrong)


def test_tolerated_failures_of_a_run_that_succeeded_are_tried_again(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(count=4, name="each", tolerate=2)(lambda index: story.did(("each", index), index))
    flow.step(name="optional", on_exhausted="skip")(lambda: story.did("optional", "there"))
    flow.step(name="after")(lambda each, optional="absent": story.did("after", [each, optional]))
    flow.step(name="apart")(lambda: story.did("apart"))
    story.broken = {("each", 1), "optional"}
    old = start(flow)
    assert old.result()["after"] == [[0, None, 2, 3], "absent"]
    story.told()
    story.broken = set()
    assert finish(old.retry())["after"] == [[0, 1, 2, 3], "there"]
    assert story.told() == {("each", 1): 1, "optional": 1, "after": 1}


def test_in_a_run_that_failed_what_was_tolerated_stays_and_is_told(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.map(count=3, name="each", tolerate=1)(lambda index: story.did(("each", index), index))

    @flow.step
    def after(each, ctx):
        return story.did("after", [each, ctx.failures("each")])

    story.broken = {("each", 1), "after"}
    old = start(flow)
    story.broken = set()
    story.told()
    failure = {"index": 1, "class": "RuntimeError", "message": "('each', 1) is broken"}
    assert finish(old.retry())["after"] == [[0, None, 2], [failure]]
    assert story.told() == {"after": 1}
    assert Attempt.objects.filter(task__step_run__step="each").count() == 2


def test_skips_and_empty_maps_stay_as_they_were(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="root")(lambda: story.did("root", []))
    flow.map(name="empty", over="root")(lambda item: item)
    flow.step(name="unmet", depends_on=["root"], when="outputs.root", on_unmet="skip_cascade")(lambda: 1)
    flow.step(name="with_it")(lambda unmet: story.did("with_it"))
    flow.step(name="left_out", depends_on=["root"])(lambda: Skip("not today"))
    flow.step(name="bad")(lambda root: story.did("bad", "good"))
    flow.step(name="cascaded")(lambda bad, unmet: story.did("cascaded"))
    flow.step(name="after")(lambda bad, empty, left_out="absent": story.did("after", [bad, empty, left_out]))
    story.broken = {"bad"}
    old = start(flow)
    story.broken = set()
    story.told()
    new = old.retry()
    assert finish(new).output == {"after": ["good", [], "absent"]}
    assert story.told() == {"bad": 1, "after": 1}
    steps = {step.step: (step.status, step.reason) for step in StepRun.objects.filter(run_id=new.id)}
    assert steps["empty"] == ("succeeded", "")
    assert steps["left_out"] == ("skipped", "handler")
    assert StepRun.objects.get(run_id=new.id, step="left_out").message == "not today"
    assert steps["unmet"] == ("skipped", "condition_unmet")
    assert steps["with_it"] == steps["cascaded"] == ("skipped", "dependency_skipped")


def test_a_condition_does_not_see_what_is_not_carried_over(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="one")(lambda: story.did("one", 1))
    flow.step(name="two")(lambda: story.did("two", 2))
    flow.step(name="after", depends_on=["two"], when="outputs.one == None")(lambda: story.did("after"))
    old = start(flow)
    story.told()
    # `one` runs again, and `after` is decided while it has not come to anything
    new = old.retry(from_step="one")
    assert finish(new).is_success
    assert story.told() == {"one": 1}


def test_another_input_reaches_the_steps_that_run(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="apart")(lambda: story.did("apart", 7))
    flow.step(name="reads")(lambda apart, input: story.did("reads", [apart, input["n"]]))
    story.broken = {"reads"}
    old = start(flow, {"n": 1})
    story.broken = set()
    story.told()
    assert finish(old.retry(input={"n": 2})).output == {"reads": [7, 2]}
    assert story.told() == {"reads": 1}
    assert finish(old.retry(input=None, mode="all")).status == "failed"


def test_another_input_is_refused_where_carried_steps_depend_on_it(flow, story, db):
    flow.defaults["retry"] = ONCE
    flow.step(name="reads")(lambda input: input)
    flow.map(name="items", over="input.list")(lambda item: story.did(("items", item), item))
    flow.step(name="asked", when="input.n == 1")(lambda: 1)
    flow.map(name="part", over="input.list")(lambda item: story.did(("part", item), item))
    story.broken = {("part", 2)}
    old = start(flow, {"list": [1, 2], "n": 1})
    story.broken = set()
    with pytest.raises(NotSupported) as caught:
        old.retry(input={"list": [3], "n": 2})
    assert caught.value.problems == [
        "step 'reads' has run with the input as it was",
        "map step 'items' took its items from the input as it was",
        "the condition of step 'asked' was decided with the input as it was",
        "map step 'part' took its items from the input as it was",
    ]
    assert "with mode='all'" in str(caught.value)
    assert caught.value.remedy == "earlier_step"
    assert Run.objects.count() == 1
    # the same value in other words is no other input
    assert finish(old.retry(input={"n": 1, "list": [1, 2]})).is_success
    assert finish(old.retry("all", input={"list": [3], "n": 2}))["items"] == [3]


def test_an_input_that_cannot_be_stored_is_refused(diamond, db):
    old = start(diamond)
    with pytest.raises(PayloadError):
        old.retry("all", input=object())
    assert Run.objects.count() == 1


def versions(make_flow, story, first, second):
    """Start a run of one version that fails, and declare another one."""
    slug = make_flow("versioned").slug
    flow = Flow(slug, retry=ONCE)
    first(flow)
    old = start(flow)
    assert old.status == "failed"
    story.broken = set()
    story.told()
    second(Flow(slug, retry=ONCE))
    return old


def test_a_newer_version_runs_what_follows_from_what_was_carried(make_flow, story, db):
    def first(flow):
        flow.step(name="a")(lambda: story.did("a", 1))
        flow.step(name="b")(lambda a: story.did("b"))

    def second(flow):
        flow.step(name="a")(lambda: story.did("a", 100))
        flow.step(name="b")(lambda a: story.did("repaired", a + 1))
        flow.step(name="c")(lambda b: story.did("c", b + 1))
        flow.step(name="entry")(lambda: story.did("entry"))

    story.broken = {"b"}
    old = versions(make_flow, story, first, second)
    new = old.retry(version="latest")
    assert finish(new).output == {"c": 3, "entry": None}
    assert story.told() == {"repaired": 1, "c": 1, "entry": 1}
    assert (old.run.version.number, new.run.version.number) == (1, 2)
    assert old.retry(version=1).run.version_id == old.run.version_id


def test_a_version_that_does_not_fit_is_refused_with_all_reasons(make_flow, story, db):
    def first(flow):
        flow.step(name="gone")(lambda: 1)
        flow.step(name="single")(lambda: [1])
        flow.step(name="moved")(lambda single: 2)
        flow.map(name="each", over="single")(lambda item: item)
        flow.step(name="bad")(lambda moved, each: story.did("bad"))

    def second(flow):
        flow.map(name="single", count=2)(lambda index: 1)
        flow.step(name="extra")(lambda: 1)
        flow.step(name="moved")(lambda single, extra: 2)
        flow.map(name="each", over="single")(lambda item: item)
        flow.step(name="bad")(lambda moved, each: story.did("bad", "done"))

    story.broken = {"bad"}
    old = versions(make_flow, story, first, second)
    with pytest.raises(NotSupported, match="in version 2") as caught:
        old.retry(version="latest")
    assert caught.value.problems == [
        "step 'gone' is not in that version",
        "step 'single' was a single step and is a map step in that version",
        "step 'moved' depends on 'extra', 'single' in that version, and it ran after 'single'",
    ]
    with pytest.raises(NotSupported, match="has no version 9; its newest is 2"):
        old.retry(version=9)
    assert finish(old.retry("all", version=2))["bad"] == "done"


def test_a_map_with_other_items_in_a_newer_version_is_not_redone_in_part(make_flow, story, db):
    def first(flow):
        flow.map(name="each", count=3)(lambda index: story.did(("each", index)))

    def second(flow):
        flow.map(name="each", count=2)(lambda index: story.did(("each", index)))

    fails_on(story, 2)
    old = versions(make_flow, story, first, second)
    with pytest.raises(NotSupported, match="map step 'each' has other items"):
        old.retry(version="latest")
    assert finish(old.retry(version="latest", from_step="each"))["each"] == [None, None]


def test_a_process_without_the_code_of_a_condition_refuses(flow, story, db, monkeypatch):
    @condition("is_ready")
    def is_ready(outputs):
        return True

    flow.defaults["retry"] = ONCE
    flow.step(name="bad")(lambda: story.did("bad"))
    flow.step(name="asks", depends_on=["bad"], when=is_ready)(lambda: 1)
    story.broken = {"bad"}
    old = start(flow)
    name = flow.spec.steps["asks"].when.callable
    monkeypatch.delitem(registry._callables, name)
    with pytest.raises(UnregisteredHandler, match=name):
        old.retry()


def test_a_retry_is_rolled_back_with_its_transaction(diamond, story, workflow_queues):
    story.broken = {"left"}
    old = start(diamond)
    with transaction.atomic():
        new = old.retry()
        transaction.set_rollback(True)
    assert not Run.objects.filter(pk=new.id).exists()
    assert testing.run_until_idle() == 0


def test_two_sessions_at_once_make_one_retry(diamond, story, workflow_queues):
    story.broken = {"left"}
    old = start(diamond)
    barrier = threading.Barrier(6)
    found = []

    def racing():
        barrier.wait(10)
        found.append(db.on_own_connection(old.retry))

    threads = [threading.Thread(target=racing) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 6
    assert len(set(found)) == 1
    assert Run.objects.filter(retry_of_id=old.id).count() == 1


@st.composite
def graphs(draw):
    """Draw a DAG: for each step whether it is a map, what it depends on, and whether it fails."""
    size = draw(st.integers(1, 8))
    steps = []
    for place in range(size):
        sources = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        items = draw(st.sampled_from([None, None, 0, 1, 3]))
        failing = draw(st.sets(st.integers(0, (items or 1) - 1 if items != 0 else 0), max_size=2))
        steps.append((sorted(sources), items, failing if draw(st.booleans()) else set()))
    return steps


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graph=graphs())
def test_a_retry_executes_what_did_not_succeed_and_what_follows_and_comes_to_the_same(db, graph):
    with transaction.atomic():
        check(graph)
        transaction.set_rollback(True)


check_numbers = iter(range(10**6))


def check(graph):
    story = Story()
    flow = Flow(f"random_{next(check_numbers)}", retry=ONCE)
    for place, (sources, items, _) in enumerate(graph):
        names = [f"s{source}" for source in sources]
        declare(flow, story, f"s{place}", names, items)
    expected = flow.execute().output
    assert sum(story.told().values()) == sum(1 if items is None else items for _, items, _ in graph)
    story.broken = {(f"s{place}", index) for place, (_, _, failing) in enumerate(graph) for index in failing}
    old = flow.start()
    testing.run_until_idle()
    done = {
        (step, index)
        for step, index in Task.objects.of_run(old.id).filter(status="succeeded").values_list("step_run__step", "index")
    }
    story.broken = set()
    story.told()
    if old.status == "succeeded":
        return
    rehearsal = rehearse(old.id, RetryRequest())
    assert rehearsal.refusal is None
    new = old.retry()
    testing.run_until_idle()
    result = new.result()
    assert result.output == expected
    check_rehearsal(rehearsal, new)
    again = rerun(graph, old)
    wanted = set()
    for place, (_, items, _) in enumerate(graph):
        name = f"s{place}"
        for index in range(1 if items is None else items):
            if name in again["anew"] or (name in again["part"] and (name, index) not in done):
                wanted.add((name, index))
    assert story.told() == dict.fromkeys(wanted, 1)


def check_rehearsal(rehearsal, new):
    """What was told before came true: of each step, how many tasks were carried over and how many executed."""
    tasks = Task.objects.of_run(new.id)
    carried = Counter(tasks.filter(origin="carried").values_list("step_run__step", flat=True))
    executed = Counter(tasks.filter(origin="").values_list("step_run__step", flat=True))
    for fate in rehearsal.steps:
        assert carried[fate.step] == fate.carried, fate
        assert fate.executed in (None, executed[fate.step]), fate
        assert (fate.fate == "carried") == (executed[fate.step] == 0) or fate.executed is None, fate


def declare(flow, story, name, sources, items):
    if items is None:
        flow.step(name=name, depends_on=sources)(lambda ctx: story.did((name, 0), [name, *map(ctx.output, sources)]))
    else:
        flow.map(name=name, count=items, depends_on=sources)(
            lambda index, ctx: story.did((name, index), [name, index, *map(ctx.output, sources)])
        )


def rerun(graph, old):
    """Say which steps run anew, and which in part, by the rule itself: step by step, from the entry on."""
    statuses = testing.statuses_of(old)
    anew, part = set(), set()
    for place, (sources, items, _) in enumerate(graph):
        name = f"s{place}"
        if any(f"s{source}" in anew | part for source in sources):
            anew.add(name)
        elif statuses.get(name) != "succeeded":
            (part if items else anew).add(name)
    return {"anew": anew, "part": part}


def test_a_run_that_was_executed_locally_is_retried_by_workers(diamond, story, db):
    story.broken = {"right"}
    old = RunHandle(diamond.execute().run_id)
    story.broken = set()
    new = old.retry()
    assert (old.run.is_local, new.run.is_local) == (True, False)
    assert finish(new).output == {"join": [11, 21]}


def test_a_run_of_functions_of_its_own_cannot_be_retried_by_workers(unique, story, db):
    slug = unique("own")
    FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(slug, "bad")
    result = execute_dynamic(slug, None, {"bad": lambda: Fail("no")})
    assert result.status == "failed"
    with pytest.raises(UnregisteredHandler, match="this process has no code for"):
        retry(result.run_id)


def test_a_retry_in_a_paused_flow_waits_until_it_goes_on(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    story.broken = set()
    pause_flow(diamond.slug)
    new = old.retry()
    assert pause_with_flow() == 1  # as the keeper does
    assert testing.run_until_idle() == 0
    assert new.status == "paused"
    resume_flow(diamond.slug)
    assert finish(new).is_success


def test_no_statement_of_a_retry_or_of_ending_a_step_scans_a_hot_table(make_flow, story, crowded):
    flow = make_flow("planned", retry=ONCE)
    flow.step(name="root")(lambda: story.did("root", [1, 2, 3]))
    flow.map(name="tolerant", over="root", tolerate=1)(lambda item: story.did(("tolerant", item), item))
    flow.map(name="each", over="root", max_parallel=1)(lambda item: story.did(("each", item), item))
    flow.step(name="join", when="input == None")(lambda tolerant, each: 1)
    story.broken = {("tolerant", 2), ("each", 2)}
    old = start(flow)
    with CaptureQueriesContext(connection) as captured:
        assert rehearse(old.id, RetryRequest(input=None, version="latest")).executed_count
        new = old.retry(input=None, version="latest")
        new.skip_step("each", by="ann")
        new.complete_step("join", 1)
        with pytest.raises(AlreadySettled):
            new.skip_step("join")
        assert dead_letters(limit=1) == []
        again = start(flow)
        letters = dead_letters()
        dismiss_dead_letters([letters[0].task_id], "known")
        retry_dead_letters([letter.task_id for letter in letters[1:]])
        retry(again)
    assert scanned(query["sql"] for query in captured.captured_queries) == {}


def test_a_rehearsal_writes_nothing_and_tells_what_a_retry_would_refuse(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond, {"n": 1})
    before = (Run.objects.count(), StepRun.objects.count(), Task.objects.count(), Event.objects.count())
    told = {step.step: (step.fate, step.carried, step.executed) for step in rehearse(old.id, RetryRequest()).steps}
    assert told == {
        "root": ("carried", 1, 0), "left": ("carried", 1, 0), "right": ("executed", 0, 1), "join": ("executed", 0, 1),
    }  # fmt: skip
    for asked in (RetryRequest(from_step="nowhere"), RetryRequest(version=99)):
        with pytest.raises(NotSupported) as caught:
            retry(old, from_step=asked.from_step, version=asked.version)
        assert rehearse(old.id, asked).refusal.message == caught.value.message
    assert before == (Run.objects.count(), StepRun.objects.count(), Task.objects.count(), Event.objects.count())
    new = old.retry()
    assert rehearse(old.id, RetryRequest()).existing == new.id
    assert "only a settled run can be retried" in rehearse(new.id, RetryRequest()).refusal.message
    with pytest.raises(RunNotFound):
        rehearse(uuid.uuid4(), RetryRequest())


def test_a_rehearsal_of_the_latest_version_does_not_store_it(diamond, story, db):
    story.broken = {"right"}
    old = start(diamond)
    diamond.step(name="more")(lambda join: join)
    versions = FlowVersion.objects.filter(flow__slug=diamond.slug)
    rehearsal = rehearse(old.id, RetryRequest(version="latest"))
    assert (rehearsal.version, rehearsal.steps[-1].step, versions.count()) == (2, "more", 1)
    old.retry(version="latest")
    assert versions.count() == 2


@pytest.mark.django_db
def test_variables_of_a_plain_flow_are_there_again(make_flow):
    broken = {"b", "m"}

    def b(a, ctx):
        if "b" in broken:
            raise ValueError("broken")
        return ctx.vars["limit"]

    def m(item, ctx):
        if item == 2 and "m" in broken:
            raise ValueError("broken")
        return ctx.vars["limit"] * item

    one = make_flow(vars={"limit": 5}, output={"b": "outputs.b", "limit": "vars.limit"})
    one.step(name="a")(lambda: 1)
    one.step(name="b", retry=ONCE)(b)
    parts = make_flow(vars={"limit": 5})
    parts.step(name="a")(lambda: [1, 2])
    parts.map(name="m", over="a", retry=ONCE)(m)
    handles = [one.start(), parts.start()]
    testing.run_until_idle()
    assert {handle.refresh().status for handle in handles} == {"failed"}
    broken.clear()
    retried = [handle.retry() for handle in handles]
    testing.run_until_idle()
    assert [handle.result().output for handle in retried] == [{"b": 5, "limit": 5}, {"m": [5, 10]}]
