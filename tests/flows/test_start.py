"""Starting: in the caller's transaction, once per key, now or later, many at a time."""

from __future__ import annotations

import threading
import uuid
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from django_workflow import InvalidArgument, PayloadError, UnknownFlow, db, queue, testing
from django_workflow.definition.registry import registry
from django_workflow.models import Event, FlowVersion, Run, StepRun, Task
from tests.waiting import eventually

HOUR = timedelta(hours=1)


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda: "done")
    return flow


@contextmanager
def rolled_back():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def messages():
    return sum(queue.depth(name)[1] for name in queue.existing())


def test_start_makes_run_step_task_and_message(simple, db):
    handle = simple.start({"a": 1}, title="My order", by="ann", labels={"region": "eu"})
    run = handle.run
    assert (run.status, run.input, run.title, run.started_by, run.labels) == (
        *("running", {"a": 1}, "My order", "ann", {"region": "eu"}),
    )
    task = Task.objects.get(run_id=handle.id)
    assert (task.status, task.queue, task.message_id is not None) == ("queued", "default", True)
    assert messages() == 1


def test_start_joins_the_callers_transaction(simple, db):
    with rolled_back():
        simple.start()
        assert messages() == 1
    assert messages() == 0
    assert not Run.objects.exists()
    assert not Task.objects.exists()
    assert not Event.objects.exists()


def test_nothing_is_seen_by_others_before_the_commit(simple, workflow_queues):
    with transaction.atomic():
        handle = simple.start()
        assert db.on_own_connection(messages) == 0
        assert db.on_own_connection(lambda: list(Run.objects.all())) == []
    assert db.on_own_connection(messages) == 1
    assert db.on_own_connection(lambda: Run.objects.get().pk) == handle.id


def test_workers_are_notified_after_the_commit_only(simple, workflow_queues):
    with db.listen([queue.CHANNEL]) as listener:
        with rolled_back():
            simple.start()
        assert listener.notifications(0.2) == []
        with transaction.atomic():
            simple.start()
            simple.start()
        assert set(listener.notifications(5.0)) == {(queue.CHANNEL, "default")}


def test_new_version_published_inside_a_transaction_holds_no_lock(simple, workflow_queues):
    with rolled_back():
        simple.start()
        started = []
        other = threading.Thread(target=lambda: started.append(db.on_own_connection(simple.start)))
        other.start()
        other.join(5.0)
        assert started, "a second session waits for the first one's transaction"
    assert FlowVersion.objects.filter(flow__slug=simple.slug).count() == 1
    assert Run.objects.get().pk == started[0].id


def test_first_start_on_a_new_queue_inside_a_transaction_holds_no_ddl_lock(make_flow, unique, workflow_queues):
    name = unique("queue")
    flow = make_flow(queue=name)
    flow.step(name="only")(lambda: None)
    with rolled_back():
        flow.start()
        assert db.on_own_connection(lambda: name in queue.existing())
    assert name in queue.existing()


def test_start_with_the_same_idempotency_key_returns_the_first_run(simple, db):
    first = simple.start(1, idempotency_key="order 7")
    again = simple.start(2, idempotency_key="order 7")
    assert again == first
    assert again.run.input == 1
    assert Run.objects.count() == messages() == 1


def test_idempotency_key_belongs_to_its_flow(make_flow, db):
    flows = [make_flow(), make_flow()]
    for flow in flows:
        flow.step(name="only")(lambda: None)
    assert flows[0].start(idempotency_key="k") != flows[1].start(idempotency_key="k")


def test_idempotency_key_holds_after_the_run_settled_and_after_a_deploy(simple, db):
    first = simple.start(idempotency_key="k")
    testing.run_until_idle()
    simple.step(name="added")(lambda: None)
    assert simple.start(idempotency_key="k") == first
    assert simple.execute(idempotency_key="k").run_id == first.id
    assert Run.objects.count() == 1


def test_callers_run_id_is_used_and_a_second_start_with_it_returns_the_run(simple, db):
    run_id = uuid.uuid4()
    assert simple.start(1, run_id=run_id).id == run_id
    assert simple.start(2, run_id=run_id).run.input == 1
    assert Run.objects.count() == messages() == 1


def test_two_sessions_with_one_key_make_one_run(simple, workflow_queues):
    simple.start()  # published
    with transaction.atomic():
        first = simple.start(idempotency_key="k")
        second = []
        other = threading.Thread(
            target=lambda: second.append(db.on_own_connection(lambda: simple.start(idempotency_key="k")))
        )
        other.start()
        wait_for_a_lock()
    other.join(10.0)
    assert second == [first]


def wait_for_a_lock():
    """Return once another session waits for a lock of ours."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    eventually(lambda: db.on_own_connection(lambda: db.rows(sql)[0][0]), "a session that waits for a lock")


@pytest.mark.parametrize("when", ["delay", "at"])
def test_delayed_run_is_scheduled_and_begins_when_due(simple, db, when):
    later = {"delay": HOUR} if when == "delay" else {"at": timezone.now() + HOUR}
    handle = simple.start(5, **later)
    assert handle.status == "scheduled"
    assert handle.run.started_at is None
    assert not StepRun.objects.exists()
    testing.run_until_idle()
    assert handle.status == "scheduled"
    testing.advance(HOUR)
    testing.run_until_idle()
    assert handle.result().output == {"only": "done"}
    assert handle.run.started_at is not None


def test_maximal_duration_of_a_delayed_run_counts_from_its_begin(make_flow, db):
    flow = make_flow(max_duration=HOUR)
    flow.step(name="only")(lambda: None)
    run = flow.start(delay=3 * HOUR).run
    assert run.deadline_at - run.due_at == HOUR


def test_delay_that_is_over_begins_at_the_next_look(simple, db):
    handle = simple.start(at=timezone.now() - HOUR)
    testing.run_until_idle()
    assert handle.status == "succeeded"


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"delay": HOUR, "at": timezone.now()}, ValueError, "not both"),
        ({"at": timezone.now().replace(tzinfo=None)}, ValueError, "time zone"),
        ({"delay": timedelta(days=366)}, ValueError, "delay= is at most 365 days"),
        ({"at": timezone.now() + timedelta(days=366)}, ValueError, "at= is at most 365 days from now"),
        ({"labels": {"a": 1}}, TypeError, "labels are texts"),
        ({"labels": {1: "a"}}, TypeError, "labels are texts"),
    ],
)
def test_options_that_make_no_sense_are_refused(simple, db, options, error, told):
    with pytest.raises(error, match=told):
        simple.start(**options)
    with pytest.raises(error, match=told):
        simple.start_many([1], **options)
    assert not Run.objects.exists()


@pytest.mark.parametrize("verb", ["start", "execute"])
@pytest.mark.parametrize(
    "options",
    [
        {"idempotency_key": "k" * 300},
        {"idempotency_key": ""},
        {"idempotency_key": "\x00"},
        {"run_id": "no id"},
        {"labels": {"a": 1}},
        {"labels": {"a" * 300: "b"}},
        {"title": 7},
        {"by": ["ann"]},
    ],
    ids=str,
)
def test_execute_refuses_what_start_refuses(simple, db, verb, options):
    with pytest.raises(InvalidArgument):
        getattr(simple, verb)(**options)
    assert not Run.objects.exists()


def test_start_many_starts_one_run_per_input_in_order(simple, db):
    handles = simple.start_many(range(100), labels={"batch": "7"}, by="ann")
    assert [handle.run.input for handle in handles] == list(range(100))
    assert Run.objects.filter(labels__batch="7", started_by="ann").count() == 100
    assert messages() == 100


def test_start_many_of_nothing_starts_nothing(simple, db):
    assert simple.start_many([]) == []


def test_start_many_with_keys_makes_what_is_new(simple, db):
    first = simple.start("first", idempotency_key="b")
    handles = simple.start_many(["a", "b", "c", "a again"], idempotency_keys=["a", "b", "c", "a"])
    assert handles[1] == first
    assert handles[3] == handles[0]
    assert [handle.run.input for handle in handles] == ["a", "first", "c", "a"]
    assert Run.objects.count() == messages() == 3


def test_start_many_with_too_few_keys_is_refused(simple, db):
    with pytest.raises(ValueError, match="2 inputs need as many idempotency keys, not 1"):
        simple.start_many([1, 2], idempotency_keys=["a"])


@pytest.mark.parametrize("bad", [float("nan"), "\x00", "\ud800", {1, 2}], ids=repr)
def test_input_that_cannot_be_stored_leaves_nothing(simple, db, bad):
    with pytest.raises(PayloadError, match=rf"The input of flow '{simple.slug}'.*\.items\[1\]") as caught:
        simple.start_many([1, {"items": [0, bad]}])
    assert caught.value.path == ".items[1]"
    assert not Run.objects.exists()
    assert messages() == 0


def test_refused_input_leaves_the_callers_transaction_usable(simple, db):
    with transaction.atomic():
        with pytest.raises(PayloadError):
            simple.start(float("nan"))
        simple.start(1)
    assert Run.objects.get().input == 1


def test_run_without_work_settles_with_its_start(flow, db):
    flow.step(name="only", when="input == 1")(lambda: None)
    handle = flow.start(2)
    assert handle.status == "succeeded"
    assert handle.run.ended_at is not None


def test_unknown_flow_is_answered_with_the_known_ones(simple):
    with pytest.raises(UnknownFlow, match=rf"No flow 'nonsense' .*{simple.slug}"):
        registry.flow("nonsense")


@pytest.mark.parametrize(("count", "most"), [(1, 7), (500, 20)])
def test_start_costs_few_statements(simple, workflow_queues, django_assert_max_num_queries, count, most):
    simple.start()  # published, and its ids are drawn
    with django_assert_max_num_queries(most):
        simple.start_many(range(count))
