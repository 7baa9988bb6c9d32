"""Callers in a transaction: nothing waits for what only they can commit, and what they roll back is not used."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connections, transaction

from django_workflow import (
    FlowBuilder,
    NotSupported,
    WaitTimeout,
    db,
    execute_dynamic,
    follow,
    handler,
    listen,
    pause_flow,
    pause_queue,
    queue,
    retry,
    testing,
    wait,
)
from django_workflow.engine.stored import overrides, versions
from django_workflow.models import FlowDefinition, FlowVersion, Run

pytestmark = [pytest.mark.usefixtures("workflow_queues"), pytest.mark.timeout(20)]


@pytest.fixture(autouse=True)
def _handlers():
    handler("one")(lambda: 1)
    handler("two")(lambda: 2)


@pytest.fixture
def declared(flow):
    """A flow of code that has a version already, and changes."""
    flow.step(name="one")(lambda: 1)
    flow.start().cancel()
    flow.step(name="two")(lambda: 2)
    return flow


@pytest.fixture
def stored(unique):
    """A stored flow that has a version already."""
    flow = FlowBuilder.create_flow(unique("stored"))
    FlowBuilder.add_step(flow, "one")
    FlowBuilder.publish(flow)
    return flow


def document(slug, *steps):
    return f"slug: {slug}\nsteps:\n" + "".join(f"  {name}: {{}}\n" for name in steps)


def make_and_start(unique, declared, stored):
    flow = FlowBuilder.create_flow(unique("new"))
    FlowBuilder.add_step(flow, "one")
    return flow.start()


def change_and_start(unique, declared, stored):
    FlowBuilder.add_step(stored, "two")
    return stored.start()


def change_and_publish(unique, declared, stored):
    FlowBuilder.add_step(stored, "two")
    FlowBuilder.publish(stored)
    return stored.start()


def change_in_a_savepoint_and_start(unique, declared, stored):
    with transaction.atomic():
        FlowBuilder.add_step(stored, "two")
    return stored.start()


def import_and_start(unique, declared, stored):
    return FlowBuilder.import_flow(document(unique("imported"), "one", "two")).start()


def import_again_and_start(unique, declared, stored):
    return FlowBuilder.import_flow(document(stored.slug, "one", "two")).start()


def make_and_execute(unique, declared, stored):
    flow = FlowBuilder.create_flow(unique("new"))
    FlowBuilder.add_step(flow, "own")
    return execute_dynamic(flow, None, {"own": lambda: 3})


def change_and_execute_dynamic(unique, declared, stored):
    FlowBuilder.add_step(stored, "two")
    return execute_dynamic(stored, None, {"two": lambda: 3})


def pause_and_start(unique, declared, stored):
    pause_flow(declared.slug)
    return declared.start()


def pause_and_execute(unique, declared, stored):
    pause_flow(declared.slug)
    return declared.execute()


def override_and_start(unique, declared, stored):
    FlowDefinition.objects.filter(slug=declared.slug).update(overrides={"one": {"queue": unique("queue")}})
    overrides._read.clear()
    return declared.start()


def lock_and_start(unique, declared, stored):
    FlowDefinition.objects.select_for_update().get(slug=declared.slug)
    return declared.start()


def retry_with_the_latest_version(unique, declared, stored):
    old = Run.objects.get(flow__slug=declared.slug)
    pause_flow(declared.slug)
    return retry(old, version="latest")


def pause_queue_and_start(unique, declared, stored):
    pause_queue("default")
    versions.published.forget()
    return declared.start()


def first_start_on_a_queue_that_is_being_made(unique, declared, stored):
    name = unique("queue")
    queue.create([name])
    FlowBuilder.create_flow(unique("new"), queue=name)
    flow = FlowBuilder.create_flow(unique("new"), queue=name)
    FlowBuilder.add_step(flow, "one")
    return flow.start()


WAYS = [
    make_and_start, change_and_start, change_and_publish, change_in_a_savepoint_and_start, import_and_start,
    import_again_and_start, make_and_execute, change_and_execute_dynamic, pause_and_start, pause_and_execute,
    override_and_start, lock_and_start, retry_with_the_latest_version, pause_queue_and_start,
    first_start_on_a_queue_that_is_being_made,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_start_of_what_this_transaction_has_changed_does_not_wait_for_it(way, unique, declared, stored):
    with transaction.atomic():
        found = way(unique, declared, stored)
        run = getattr(found, "run_id", None) or found.id
    assert Run.objects.filter(pk=run).exists()


def rolled_back(function):
    with transaction.atomic():
        result = function()
        transaction.set_rollback(True)
    return result


def make_start_of_unknown_steps(slug):
    flow = FlowBuilder.create_flow(slug)
    FlowBuilder.add_step(flow, "one")
    return flow, flow.start()


def test_version_that_was_rolled_back_is_not_used_later(unique):
    slug = unique("stored")
    rolled_back(lambda: make_start_of_unknown_steps(slug))
    assert not FlowDefinition.objects.filter(slug=slug).exists()
    _, run = make_start_of_unknown_steps(slug)
    testing.run_until_idle()
    assert run.result().output == {"one": 1}


def test_version_of_a_savepoint_that_was_rolled_back_is_not_used_later(stored, unique):
    slug = unique("stored")
    with transaction.atomic():
        rolled_back(lambda: make_start_of_unknown_steps(slug))
        _, run = make_start_of_unknown_steps(slug)
    testing.run_until_idle()
    assert run.result().output == {"one": 1}


def test_queue_that_was_rolled_back_is_made_by_the_next_start(unique):
    name = unique("queue")

    def start():
        queue.create([name])
        flow = FlowBuilder.create_flow(unique("stored"), queue=name)
        FlowBuilder.add_step(flow, "one")
        return flow.start()

    rolled_back(start)
    assert name not in queue.existing()
    run = start()
    assert name in queue.existing()
    testing.run_until_idle()
    assert run.status == "succeeded"


def test_nobody_learns_of_a_draft_that_was_rolled_back(stored):
    FlowBuilder.publish(stored)

    def start():
        FlowBuilder.add_step(stored, "two")
        return stored.start()

    rolled_back(start)
    assert FlowVersion.objects.filter(flow=stored.row).count() == 1
    run = stored.start()
    testing.run_until_idle()
    assert run.result().output == {"one": 1}


def test_overrides_that_were_rolled_back_are_not_used_by_the_next_start(declared, unique):
    def start():
        FlowDefinition.objects.filter(slug=declared.slug).update(overrides={"one": {"queue": unique("queue")}})
        overrides._read.clear()
        return declared.start().run.version.compiled.steps["one"].queue

    assert rolled_back(start) is not None
    assert declared.start().run.version.compiled.steps["one"].queue is None


def test_flow_that_is_deleted_and_made_again_has_a_version_of_its_own(stored):
    def again():
        FlowBuilder.delete_flow(stored)
        return make_start_of_unknown_steps(stored.slug)[1]

    with transaction.atomic():
        run = again()
    testing.run_until_idle()
    assert run.result().output == {"one": 1}


def test_deleting_that_is_rolled_back_leaves_the_version_in_use(stored):
    rolled_back(lambda: FlowBuilder.delete_flow(stored))
    run = FlowBuilder.get_flow(stored.slug).start()
    testing.run_until_idle()
    assert run.result().output == {"one": 1}
    assert FlowVersion.objects.filter(flow__slug=stored.slug).count() == 1


def test_without_a_connection_to_spare_the_caller_publishes_itself(declared, monkeypatch):
    def none(function):
        raise OperationalError("sorry, too many clients already")

    monkeypatch.setattr(db, "on_own_connection", none)
    with transaction.atomic():
        run = declared.start()
    testing.run_until_idle()
    assert run.status == "succeeded"


def test_start_by_whoever_commits_by_hand_takes_effect_at_the_commit(declared):
    connection = connections["default"]
    transaction.set_autocommit(False)
    try:
        rolled = declared.start()
        assert db.on_own_connection(lambda: Run.objects.filter(pk=rolled.id).exists()) is False
        transaction.rollback()
        run = declared.start()
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert connection.get_autocommit()
    assert not Run.objects.filter(pk=rolled.id).exists()
    testing.run_until_idle()
    assert run.status == "succeeded"


WORKER_SIDE = r"was started in this transaction.*on_commit"


@pytest.mark.parametrize("timeout", [None, 30, 0])
def test_waiting_for_a_run_of_this_transaction_is_refused_at_once(declared, timeout):
    with transaction.atomic():
        run = declared.start()
        with pytest.raises(NotSupported, match=WORKER_SIDE) as caught:
            run.wait(timeout)
        assert caught.value.run_id == run.id
        with transaction.atomic(), pytest.raises(NotSupported, match=WORKER_SIDE):
            wait(run, timeout)
    testing.run_until_idle()
    assert run.wait(0).is_success


def test_waiting_for_an_earlier_start_with_execute_is_refused_at_once(declared):
    with transaction.atomic():
        declared.start(idempotency_key="k")
        with pytest.raises(NotSupported, match=WORKER_SIDE):
            declared.execute(idempotency_key="k")


@pytest.mark.parametrize("verb", ["pause", "resume", "skip_step", "retry"])
def test_waiting_for_a_run_that_this_transaction_has_changed_is_refused_at_once(declared, verb):
    run = declared.start()
    if verb == "resume":
        run.pause()
    if verb == "retry":
        run.cancel()
    with transaction.atomic():
        run = getattr(run, verb)(*(["one"] if verb == "skip_step" else []))
        with pytest.raises(NotSupported, match="in this transaction"):
            run.wait(30)


def test_what_settled_within_the_transaction_is_returned_at_once(declared):
    with transaction.atomic():
        run = declared.start()
        run.cancel()
        assert run.wait().status == "cancelled"
        assert declared.execute().is_success


def test_wait_on_commit_begins_after_the_commit(declared):
    def start_and_wait_after():
        with transaction.atomic():
            run = declared.start()
            transaction.on_commit(lambda: run.wait(0.01))

    with pytest.raises(WaitTimeout):
        start_and_wait_after()
    assert Run.objects.filter(flow__slug=declared.slug, status="running").exists()


@pytest.mark.parametrize("writes", [False, True])
def test_run_that_was_committed_before_may_be_waited_for(declared, writes):
    run = declared.start()
    with transaction.atomic():
        if writes:
            FlowBuilder.create_flow("another")
        with pytest.raises(WaitTimeout):
            run.wait(0.01)
        db.on_own_connection(testing.run_until_idle)
        assert run.wait(30).is_success


def test_rolled_back_savepoint_leaves_the_run_to_be_waited_for(declared):
    run = declared.start()
    with transaction.atomic():
        rolled_back(run.pause)
        with pytest.raises(WaitTimeout):
            run.wait(0.01)


def test_following_what_this_transaction_keeps_back_is_refused_at_once(declared):
    with transaction.atomic():
        run = declared.start()
        for following in (follow(run), follow(), listen("news")):
            with following, pytest.raises(NotSupported, match="before the transaction ends"):
                next(following)


def test_following_in_a_transaction_that_has_written_reads_what_was_there(declared):
    run = declared.start()
    with transaction.atomic():
        FlowBuilder.create_flow("another")
        with follow(run, after=(0, 0)) as events:
            assert next(events).type == "run.started"
        with follow(after=(0, 0), timeout=0) as events:
            assert {event.run_id for event in events} >= {run.id}


def test_following_in_a_transaction_that_only_reads_goes_on(declared):
    with transaction.atomic(), follow(timeout=20) as events:
        run = db.on_own_connection(declared.start)
        assert next(events).run_id == run.id
