"""A worker on a site whose connections come from a pool."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from django_workflow import checks, db, testing
from django_workflow.models import Attempt, Worker
from tests.waiting import eventually


@pytest.fixture
def pool(monkeypatch):
    """A pool of two connections for all but the test's own."""
    options = connection.settings_dict["OPTIONS"] | {"pool": {"min_size": 0, "max_size": 2, "timeout": 5}}
    monkeypatch.setitem(connections.settings, "default", connection.settings_dict | {"OPTIONS": options})
    yield
    connections.create_connection("default").close_pool()


def test_handlers_that_use_up_the_pool_keep_no_worker_from_its_work(pool, flow, work, db):
    at_work, go = threading.Semaphore(0), threading.Event()

    @flow.map(count=2)
    def each():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            at_work.release()
            assert go.wait(30)
            return cursor.fetchone()[0]

    handle = flow.start()
    worker = work(concurrency=2, lease=timedelta(seconds=3))
    try:
        assert at_work.acquire(timeout=20)
        assert at_work.acquire(timeout=20)
        before = Worker.objects.get().heartbeat_at
        later = before + timedelta(seconds=2)
        eventually(lambda: Worker.objects.get().heartbeat_at > later, "two heartbeats", seconds=20)
    finally:
        go.set()
    eventually(lambda: handle.refresh().status == "succeeded", "the end of the run", seconds=20)
    worker.stop()
    assert len(set(testing.assert_settled(handle)["each"])) == 2
    assert not Attempt.objects.exists()


def test_what_is_set_for_a_worker_does_not_come_to_a_handler_by_the_pool(pool, flow, drain):
    @flow.map(count=5)
    def each():
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('enable_seqscan'), current_setting('jit')")
            return list(cursor.fetchone())

    handle = flow.start()
    default = [db.rows("SHOW enable_seqscan")[0][0], db.rows("SHOW jit")[0][0]]
    drain(concurrency=2)
    drain(concurrency=2)
    assert testing.assert_settled(handle)["each"] == [default] * 5


@pytest.mark.parametrize(
    ("pool", "concurrency", "is_warned"),
    [
        (True, 16, True),
        (True, 4, False),
        ({"min_size": 2, "max_size": 15}, 16, True),
        ({"max_size": 16}, 16, False),
        ({"min_size": 16}, 16, False),
        (False, 16, False),
    ],
)
def test_a_pool_smaller_than_the_slots_is_told(settings, monkeypatch, pool, concurrency, is_warned):
    databases = {"default": checks.settings.DATABASES["default"] | {"OPTIONS": {"pool": pool}}}
    monkeypatch.setattr(checks.settings, "DATABASES", databases)
    settings.DJANGO_WORKFLOW = {"CONCURRENCY": concurrency}
    found = [message for message in checks.check_settings() if message.id == "django_workflow.W002"]
    assert bool(found) == is_warned
    if found:
        assert "pool" in found[0].msg
        assert str(concurrency) in found[0].msg
