"""Pausing and resuming: runs, flows and queues, as seen by whoever claims."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync

from django_workflow import (
    AlreadySettled,
    NotSupported,
    Retry,
    RunNotFound,
    UnknownFlow,
    UnknownQueue,
    apause,
    aresume,
    db,
    pause,
    pause_flow,
    pause_queue,
    queue,
    resume,
    resume_flow,
    resume_queue,
    testing,
)
from django_workflow.engine.settling.settle import settle
from django_workflow.engine.tasks import claim, handoff, outcome
from django_workflow.engine.tasks.outcome import ErrorRecord
from django_workflow.engine.verbs import pause as pausing
from django_workflow.engine.verbs import start
from django_workflow.engine.verbs.pause import pause_with_flow
from django_workflow.engine.verbs.start import StartRequest
from django_workflow.ids import uuid7
from django_workflow.models import Event, Queue, Run, Task
from django_workflow.worker.options import WorkerOptions
from django_workflow.worker.process import WorkerProcess

MINUTE = timedelta(minutes=1)


@pytest.fixture
def chain(flow):
    """Two steps, one after the other."""
    flow.step(name="first")(lambda: 1)
    flow.step(name="second", depends_on=["first"])(lambda: 2)
    return flow


@pytest.fixture
def failing(flow):
    """A step that fails once and is tried again after ten minutes."""

    @flow.step(retry=Retry(max_attempts=2, base=10 * MINUTE, cap=10 * MINUTE, jitter=False))
    def only(ctx):
        if ctx.attempt == 1:
            raise ValueError("once")
        return ctx.attempt

    return flow


@pytest.fixture
def narrow(flow):
    """A map of four items, one at a time."""
    flow.map(name="each", over="input", max_parallel=1)(lambda item: item)
    return flow


def tasks(handle):
    return list(Task.objects.filter(run_id=handle.id).order_by("id").values_list("status", "hold_reason"))


def take(name="default"):
    return claim.claim(name, 10, slots=10, lease=30.0)


def finish(task):
    settle([outcome.succeeded(task, "1")])


def fail(task):
    settle([outcome.failed(task, ErrorRecord.of(ValueError("no")))])


def visible(name="default"):
    return queue.depth(name)[1]


def events(handle, prefix="run."):
    return list(Event.objects.filter(run_id=handle.id, type__startswith=prefix).values_list("type", "data"))


def test_a_paused_run_is_held_without_a_message_and_goes_on_when_resumed(chain, db):
    handle = chain.start()
    handle.pause(reason="stock-taking", by="ann")
    assert (handle.status, tasks(handle), visible()) == ("paused", [("held", "paused")], 0)
    assert take() == []
    handle.resume(by="ben")
    assert (handle.status, tasks(handle), visible()) == ("running", [("queued", "")], 1)
    testing.run_until_idle()
    assert testing.assert_settled(handle).output == {"second": 2}
    assert events(handle)[1:3] == [
        ("run.paused", {"reason": "stock-taking", "by": "ann"}),
        ("run.resumed", {"by": "ben"}),
    ]


def test_what_runs_finishes_and_its_successor_is_held(chain, db):
    handle = chain.start()
    [task] = take()
    handle.pause()
    finish(task)
    assert testing.statuses_of(handle) == {"first": "succeeded", "second": "running"}
    assert tasks(handle) == [("succeeded", ""), ("held", "paused")]
    assert visible() == 0
    handle.resume()
    testing.run_until_idle()
    testing.assert_settled(handle)


def test_a_run_whose_last_task_ends_while_it_is_paused_ends(flow, db):
    flow.step(name="only")(lambda: 1)
    handle = flow.start()
    [task] = take()
    handle.pause()
    finish(task)
    testing.assert_settled(handle)


def test_pausing_and_resuming_twice_changes_nothing(chain, db):
    handle = chain.start()
    assert handle.resume().run.status == "running"
    handle.pause()
    at = handle.run.paused_at
    assert handle.pause().run.paused_at == at
    handle.resume()
    handle.resume()
    assert [kind for kind, _ in events(handle)] == ["run.started", "run.paused", "run.resumed"]


def test_a_delay_that_runs_is_kept(failing, db):
    handle = failing.start()
    testing.run_until_idle()
    testing.advance(4 * MINUTE)
    handle.pause()
    Run.objects.update(paused_at=handle.run.paused_at - 60 * MINUTE)
    Task.objects.update(due_at=Task.objects.get().due_at - 60 * MINUTE)  # an hour passes
    handle.resume()
    assert take() == []
    testing.advance(5 * MINUTE)
    testing.run_until_idle()
    assert handle.status == "running", "six minutes remained"
    testing.advance(2 * MINUTE)
    testing.run_until_idle()
    assert testing.assert_settled(handle).output == {"only": 2}


def test_a_delay_that_begins_during_a_pause_begins_with_the_resume(failing, db):
    handle = failing.start()
    [task] = take()
    handle.pause()
    Run.objects.update(paused_at=handle.run.paused_at - 60 * MINUTE)
    fail(task)
    assert tasks(handle) == [("held", "paused")]
    handle.resume()
    testing.advance(9 * MINUTE)
    assert testing.run_until_idle() == 0
    testing.advance(2 * MINUTE)
    testing.run_until_idle()
    testing.assert_settled(handle)


def test_a_short_delay_hides_the_message_again(flow, db):
    @flow.step(retry=Retry(max_attempts=2, base=timedelta(seconds=10), jitter=False))
    def only(ctx):
        if ctx.attempt == 1:
            raise ValueError("once")

    handle = flow.start()
    testing.run_until_idle()
    handle.pause()
    handle.resume()
    assert Task.objects.get().message_id is not None
    assert take() == []
    testing.advance(timedelta(seconds=11))
    testing.run_until_idle()
    testing.assert_settled(handle)


def test_time_spent_paused_does_not_count_towards_the_deadline(chain, db):
    handle = chain.start()
    before = handle.run.deadline_at
    handle.pause()
    Run.objects.update(paused_at=handle.run.paused_at - 60 * MINUTE)
    testing.advance(timedelta(days=30))
    assert handle.status == "paused", "a paused run does not time out"
    Run.objects.update(deadline_at=before)
    handle.resume()
    assert handle.run.deadline_at - before >= 60 * MINUTE


def test_a_place_that_becomes_free_while_paused_is_held_as_paused(narrow, db):
    handle = narrow.start([1, 2, 3, 4])
    [task] = take()
    handle.pause()
    finish(task)
    assert tasks(handle) == [("succeeded", ""), ("held", "paused"), ("held", "parallel"), ("held", "parallel")]
    handle.resume()
    assert tasks(handle)[1:3] == [("queued", ""), ("held", "parallel")]
    testing.run_until_idle()
    assert testing.assert_settled(handle).output == {"each": [1, 2, 3, 4]}


def test_a_task_that_fails_for_good_while_paused_fails_the_run(flow, db):
    flow.step(name="only", retry=Retry(max_attempts=1))(lambda: 1)
    handle = flow.start()
    [task] = take()
    handle.pause()
    fail(task)
    testing.assert_settled(handle, "failed")


def test_a_scheduled_run_is_paused_and_scheduled_again(chain, db):
    handle = chain.start(delay=MINUTE)
    handle.pause()
    testing.advance(2 * MINUTE)
    testing.run_until_idle()
    assert handle.status == "paused"
    assert handle.resume().run.status == "scheduled"
    Run.objects.update(due_at=handle.run.created_at)
    testing.run_until_idle()
    testing.assert_settled(handle)


def test_what_is_released_or_lost_by_a_worker_is_held(chain, db):
    handle = chain.start()
    [task] = take()
    handle.pause()
    settle([outcome.released(task, "did not begin")])
    assert (tasks(handle), visible()) == ([("held", "paused")], 0)


@pytest.mark.parametrize("hold", [lambda flow: pause_flow(flow.slug), lambda _: pause_queue("default")])
def test_what_was_lost_does_not_begin_again_while_its_flow_or_queue_is_paused(chain, db, monkeypatch, hold):
    handle = chain.start()
    (task,) = take()
    monkeypatch.setattr(pausing, "pause_with_flow", lambda: 0)  # somebody holds the run: the keeper will mark it
    hold(chain)
    settled = settle([outcome.lost(task, 30.0)])
    assert (settled.may_begin, tasks(handle)) == (set(), [("queued", "")])
    assert take() == []


def test_a_run_that_is_not_there_or_has_ended_is_refused(chain, db):
    handle = chain.start()
    testing.run_until_idle()
    for verb in (pause, resume):
        with pytest.raises(AlreadySettled, match="already ended succeeded"):
            verb(handle)
        with pytest.raises(RunNotFound):
            verb(uuid7())


def test_a_run_executed_in_its_callers_process_cannot_be_paused(chain, db):
    [run_id] = start.start(chain.current_spec(), [StartRequest(is_local=True)])
    with pytest.raises(NotSupported, match="caller's process"):
        pause(run_id)


def test_async_twins(chain, db):
    handle = chain.start()
    assert async_to_sync(apause)(handle).run.status == "paused"
    assert async_to_sync(aresume)(handle).run.status == "running"


# flows


def test_a_paused_flow_holds_its_runs_and_those_that_are_started_later(chain, make_flow, db):
    other = make_flow()
    other.step(name="only")(lambda: 1)
    bystander, before = other.start(), chain.start()
    pause_flow(chain.slug, reason="a bug", by="ann")
    assert (before.status, bystander.status) == ("paused", "running")
    later = chain.start()
    assert [task.run_id for task in take()] == [bystander.id], "nothing of the flow is claimed"
    assert pause_with_flow() == 1
    assert (later.status, tasks(later)) == ("paused", [("held", "paused")])
    resume_flow(chain.slug)
    assert (before.status, later.status) == ("running", "running")
    testing.run_until_idle()
    testing.assert_settled(before)
    testing.assert_settled(later)


def test_a_run_paused_by_itself_stays_so_when_its_flow_is_resumed(chain, db):
    mine, flows = chain.start(), chain.start()
    mine.pause()
    pause_flow(chain.slug)
    resume_flow(chain.slug)
    assert (mine.status, flows.status) == ("paused", "running")


def test_a_run_of_a_paused_flow_is_not_resumed_alone(chain, db):
    handle = chain.start()
    pause_flow(chain.slug)
    with pytest.raises(NotSupported, match="resume the flow"):
        handle.resume()


def test_a_successor_in_a_flow_that_was_just_paused_is_not_taken_at_once(chain, db, monkeypatch):
    handle = chain.start()
    (first,) = take()
    monkeypatch.setattr(pausing, "pause_with_flow", lambda: 0)  # somebody holds the run: the keeper will mark it
    pause_flow(chain.slug)
    taker = handoff.Taker(None, 30.0, frozenset(["default"]), 1, lambda spec, step: True)
    assert settle([outcome.succeeded(first, "1")], taker=taker).taken == []
    assert (handle.status, tasks(handle)) == ("running", [("succeeded", ""), ("queued", "")])
    assert take() == []


def test_an_unknown_flow_or_queue_is_named(db):
    with pytest.raises(UnknownFlow, match="'nothing'"):
        pause_flow("nothing")
    with pytest.raises(UnknownQueue, match="'nothing'; known: default"):
        pause_queue("nothing")


# queues


def test_no_task_of_a_paused_queue_is_claimed(chain, db):
    handle = chain.start()
    pause_queue("default", reason="disk full", by="ann")
    assert (take(), tasks(handle), visible()) == ([], [("queued", "")], 1)
    pause_queue("default", reason="again", by="ben")
    row = Queue.objects.get(name="default")
    assert (row.paused_by, row.pause_reason) == ("ann", "disk full")
    resume_queue("default")
    testing.run_until_idle()
    testing.assert_settled(handle)


def test_messages_read_before_the_queue_was_paused_are_not_taken(chain, db, monkeypatch):
    chain.start()
    messages = queue.read("default", 30.0, 10)
    pause_queue("default")
    monkeypatch.setattr(queue, "read", lambda *args: messages)
    assert take() == []


def test_a_paused_queue_is_read_without_looking_at_its_messages(chain, db):
    chain.start_many([None] * 100)
    pause_queue("default")
    before = db_reads()
    assert take() == []
    assert db_reads() == before


def db_reads():
    return db.rows("SELECT sum(read_ct) FROM pgmq.q_wfq_default")[0][0]


@pytest.mark.django_db(transaction=True)
def test_a_draining_worker_does_not_wait_for_a_paused_queue(flow, workflow_queues):
    flow.step(name="here")(lambda: 1)
    flow.step(name="there", queue="elsewhere", depends_on=["here"])(lambda: 2)
    handle = flow.start()
    pause_queue("elsewhere")
    worker = WorkerProcess(WorkerOptions(queues=("default", "elsewhere"), drain=True))
    thread = threading.Thread(target=worker.run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert testing.statuses_of(handle) == {"here": "succeeded", "there": "running"}
    assert tasks(handle)[1] == ("queued", ""), "nor was it taken at once, as a successor of its own"


def test_a_task_met_while_its_flow_was_paused_does_not_wait_for_a_lease(chain, db):
    chain.start(delay=MINUTE)
    pause_flow(chain.slug)
    handle = chain.start()
    assert take() == [], "its message is hidden now"
    resume_flow(chain.slug)
    testing.advance(timedelta(seconds=2))
    testing.run_until_idle()
    testing.assert_settled(handle)


def test_each_run_tells_who_paused_its_own_flow_and_why(chain, make_flow, db):
    other = make_flow()
    other.step(name="only")(lambda: 1)
    other.start(delay=MINUTE)
    pause_flow(other.slug, reason="theirs", by="ben")
    stray, mine = other.start(), chain.start()
    pause_flow(chain.slug, reason="ours", by="ann")
    assert events(stray)[-1] == ("run.paused", {"reason": "theirs", "by": "ben"})
    assert events(mine)[-1] == ("run.paused", {"reason": "ours", "by": "ann"})


def test_a_task_that_was_taken_at_once_leaves_no_message_when_it_is_held(flow, db):
    flow.step(name="first")(lambda: 1)

    @flow.step(depends_on=["first"], retry=Retry(max_attempts=2, base=MINUTE))
    def second():
        raise ValueError

    handle = flow.start()
    (task,) = claim.claim("default", 10, slots=1, lease=60)
    taker = handoff.Taker(None, 60.0, frozenset({"default"}), 1, lambda spec, step: True)
    (taken,) = settle([testing.perform(task)], taker=taker).taken
    pause(handle)
    settle([testing.perform(taken)])
    assert Task.objects.get(pk=taken.id).status == "held"
    assert queue.depth("default")[:2] == (0, 0)
