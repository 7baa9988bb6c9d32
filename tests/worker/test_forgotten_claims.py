"""Connections that are cut before a worker hears what it has claimed: what never began is handed back uncounted."""

from __future__ import annotations

import itertools

import pytest

from django_workflow import Retry
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, open_claims, outcome
from django_workflow.engine.tasks.claimed import OpenClaim
from django_workflow.engine.writing import tasks as writing
from django_workflow.models import Attempt, Task

#: Much less than a lease: whoever waits for one waits longer.
SOON = 15.0
ONCE = Retry(max_attempts=1)


@pytest.fixture
def cut_worker(work, cutter, make_flow):
    """A worker whose dispatcher is cut."""
    worker = work(concurrency=4)
    warm = make_flow()
    warm.step(name="only")(lambda: None)
    assert warm.start().wait(20).is_success
    cutter.thread = worker.thread
    return worker


@pytest.fixture
def story(make_flow):
    """A chain with a map in it, that may not fail even once, and what its handlers did."""
    flow, began = make_flow(retry=ONCE), []

    @flow.step
    def first(input, ctx):
        began.append((ctx.run_id, "first", 0))
        return [1, 2, 3]

    @flow.map(over="first")
    def each(item, ctx, index):
        began.append((ctx.run_id, "each", index))
        return item

    @flow.step
    def last(each, first, ctx):
        began.append((ctx.run_id, "last", 0))
        return [*each, *first]

    return flow, began


def assert_all_began_once(handle, began):
    mine = sorted(item[1:] for item in began if item[0] == handle.id)
    assert mine == [("each", 0), ("each", 1), ("each", 2), ("first", 0), ("last", 0)]
    assert not Attempt.objects.filter(run_id=handle.id).exclude(outcome="released").exists()


@pytest.mark.parametrize("code", ["", "57014", "55P03", "40P01"], ids=["cut", "cancelled", "locked", "deadlock"])
@pytest.mark.slow
def test_whatever_statement_of_the_dispatcher_ends_badly_nothing_is_lost_counted_or_repeated(
    story, cut_worker, cutter, code
):
    flow, began = story
    cutter.code, seen = code, []
    # nobody knows which messages were hidden by a read whose answer is lost: they come back after the lease
    for number in itertools.count(1 if code else 2):
        cutter.cut_after_statement(number)
        handle = flow.start([])
        assert handle.wait(SOON)["last"] == [1, 2, 3, 1, 2, 3], f"it was {cutter.was}"
        assert_all_began_once(handle, began)
        if not cutter.was or number > 60:
            break
        seen.append(cutter.was)
    assert any(what == claim.TAKE for what in seen)


@pytest.mark.parametrize(
    ("statements", "seen"),
    [
        ([claim.TAKE], ""),
        ([claim.TAKE, open_claims.READ_CARRIERS, open_claims.READ_CARRIERS], ""),
        (["COMMIT"], writing.INSERT_TAKEN_TASKS),
        ([claim.TAKE, "COMMIT"], ""),
    ],
    ids=["a claim", "a claim and twice the look for it", "the commit of a hand-off", "a claim and its return"],
)
@pytest.mark.slow
def test_what_a_lost_claim_took_is_claimed_again_at_once(story, cut_worker, cutter, statements, seen):
    flow, began = story
    cutter.cut_after(*statements, seen=seen)
    handle = flow.start([])
    assert handle.wait(SOON).is_success
    assert_all_began_once(handle, began)
    assert Attempt.objects.filter(run_id=handle.id, outcome="released").exists()


@pytest.fixture
def taken(flow, db):
    """A claimed task, and the claim whose answer was lost."""
    flow.step(name="only", retry=ONCE)(lambda: None)
    flow.start()
    opened: list[OpenClaim] = []
    (task,) = claim.claim("default", 10, slots=10, lease=30.0, opened=opened)
    assert [(item.lease_id, item.task_ids) for item in opened] == [(task.lease_id, [task.id])]
    return task, opened[0]


def test_what_carries_a_lease_is_found_by_it(taken):
    task, opened = taken
    (found,) = open_claims.carriers(opened)
    assert (found.fence, found.message_id, found.queue) == (task.fence, task.message_id, "default")
    assert open_claims.carriers(OpenClaim(opened.lease_id + 1, [task.id])) == []


def test_what_an_earlier_attempt_lost_is_left_to_its_lease(taken):
    task, _ = taken
    # its lease is over, and the claim that met it was cut before it could tell of the loss
    Task.objects.filter(pk=task.id).update(lease_id=task.lease_id + 1, attempt=2)
    assert open_claims.carriers(OpenClaim(task.lease_id + 1, [task.id])) == []


def test_what_was_handed_back_before_is_found_by_its_next_lease(taken):
    task, _ = taken
    settle([outcome.released(task, "a test")])
    opened: list[OpenClaim] = []
    (again,) = claim.claim("default", 10, slots=10, lease=30.0, opened=opened)
    assert [found.fence for found in open_claims.carriers(opened[0])] == [again.fence]
