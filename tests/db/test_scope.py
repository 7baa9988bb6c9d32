"""Two sites in two schemas of one database: nothing that the database shares is shared by them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections

from django_workflow import db, listen, notify_only, queue, send_with_notify, testing
from django_workflow.db import scope
from django_workflow.engine.stored import locking, versions
from django_workflow.engine.tasks import claim
from django_workflow.ids import uuid7
from django_workflow.models import Queue, Run
from django_workflow.read import doctor
from django_workflow.worker.loops.keeper import CANDIDATE_EVERY, Keeper
from tests.db.sites import at_schema, second_site

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = "other_site"


@pytest.fixture
def other(workflow_queues):
    """The schema of a second site."""
    with second_site(OTHER) as schema:
        yield schema


@pytest.fixture
def single(flow):
    flow.step(lambda: 1, name="only")
    return flow


def elsewhere(function, *args):
    """Do something on a connection of its own, as another process would."""

    def work():
        try:
            return function(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result(30)


def test_tables_in_public_have_plain_names(workflow_queues):
    assert db.schema() == "public"
    assert (queue.prefix(), db.scoped("x"), db.number_of_schema()) == ("wfq_", "x", 0)


def test_each_site_claims_its_own_messages_only(single, other):
    first = single.start()
    with at_schema(other):
        second = single.start()
        assert [task.run_id for task in claim.claim("default", 10, slots=10, lease=30.0)] == [second.id]
        assert queue.depth("default")[1] == 1
    assert [task.run_id for task in claim.claim("default", 10, slots=10, lease=30.0)] == [first.id]
    assert queue.depth("default")[1] == 1


def test_each_site_sees_and_empties_its_own_queues_only(single, other):
    single.start()
    with at_schema(other):
        single.start()
        assert db.schema() == other
        assert queue.existing() == sorted(Queue.objects.values_list("name", flat=True))
        testing.clean_queues()
        assert queue.depth("default")[1] == 0
    assert queue.depth("default")[1] == 1


def test_a_whole_run_goes_through_the_queues_of_a_site_in_a_schema(single, other):
    with at_schema(other):
        run = single.start()
        testing.run_until_idle()
        assert run.status == "succeeded"
        assert single.execute().status == "succeeded"
    assert not Run.objects.exists()


def test_removing_a_queue_removes_the_sites_own(other):
    queue.create(["gone"])
    with at_schema(other):
        queue.create(["gone"])
        queue.drop("gone")
        assert "gone" not in queue.existing()
    assert "gone" in queue.existing()
    queue.drop("gone")


def test_the_longest_name_of_a_queue_fits(make_flow, other):
    name = "q" * 40
    flow = make_flow()
    flow.step(lambda: 1, name="only", queue=name)
    with at_schema(other):
        run = flow.start()
        testing.run_until_idle()
        assert run.status == "succeeded"
        assert name in queue.existing()
    assert name not in queue.existing()


def test_notifications_reach_the_listeners_of_their_own_site_only(other):
    with listen("news", timeout=0) as here, db.listen([db.RUN_CHANNEL, queue.CHANNEL]) as told:
        with at_schema(other), listen("news", timeout=0) as there:
            with db.listen([db.RUN_CHANNEL]) as told_there:
                db.notify([(db.RUN_CHANNEL, "one"), (queue.CHANNEL, "two")])
                db.notify([(db.RUN_CHANNEL, "three")])
                assert set(told_there.notifications(5)) >= {(db.RUN_CHANNEL, "one")}
            send_with_notify("news", "stored")
            notify_only("news", "unstored")
            assert sorted(item.message for item in there) == ["stored", "unstored"]
        assert list(here) == []
        assert told.notifications(0) == []
        db.notify([(db.RUN_CHANNEL, "mine")])
        assert told.notifications(5) == [(db.RUN_CHANNEL, "mine")]


def test_each_site_has_a_keeper(single, other):
    first, rival = Keeper(), Keeper()
    assert elsewhere(first.round) < CANDIDATE_EVERY
    assert elsewhere(rival.round) == CANDIDATE_EVERY
    with at_schema(other):
        run = single.start(delay=timedelta(hours=1))
        Run.objects.update(due_at="2020-01-01T00:00Z")
        assert elsewhere(Keeper().round) == 0.0
        assert run.status == "running"


def test_a_copied_sites_local_runs_are_not_held_by_the_first_ones_lease(other):
    run_id = uuid7()
    key = locking.local_lease_key(run_id)
    with at_schema(other):
        assert locking.local_lease_key(run_id) != key


def test_the_listening_connection_may_be_the_first_that_asks_for_the_schema(other):
    with at_schema(other):
        scope._schemas.clear()
        with ThreadPoolExecutor(1) as thread:
            listener = thread.submit(db.Listener, [db.RUN_CHANNEL]).result(30)
            opened = thread.submit(lambda: connections["default"].connection).result(30)
        listener.close()
        assert opened is None, "a thread that only listens has no second connection"
        assert list(scope._schemas.values()) == [other]


def test_doctor_tells_the_schema_where_it_is_not_the_usual_one(single, other):
    with at_schema(other):
        versions.publish_declared()
        texts = [finding.text for finding in doctor.examine()]
        assert any(f"schema '{other}'" in text and queue.prefix() in text for text in texts)
    assert not any("schema" in finding.text for finding in doctor.examine())
