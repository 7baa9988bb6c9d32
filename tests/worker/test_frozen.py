"""A worker that is frozen while it leads, as by SIGSTOP, and two sites that each have a worker in one database."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.db import connection

from django_workflow import db
from django_workflow.models import Run, Worker
from tests.db.sites import at_schema, second_site
from tests.waiting import eventually
from tests.worker.site.workflows import quick
from tests.workers import WorkerCommand

HOUR = timedelta(hours=1)
LEADERS = "SELECT holder FROM django_workflow_leader WHERE name = 'keeper' AND until > clock_timestamp()"
LOCKS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"


def due():
    """Let all scheduled runs be due."""
    Run.objects.filter(status="scheduled").update(due_at="2020-01-01T00:00Z")


@pytest.mark.chaos
def test_delays_go_on_while_the_worker_that_leads_is_frozen(command):
    first = command()
    (leader,) = eventually(lambda: db.rows(LEADERS), "a leader")
    second = command()
    eventually(lambda: Worker.objects.count() == 2, "a second worker")
    os.kill(first.popen.pid, signal.SIGSTOP)
    try:
        runs = quick.start_many([[1]] * 3, delay=HOUR)
        due()
        eventually(lambda: {run.status for run in runs} == {"succeeded"}, "scheduled runs that end", seconds=90)
        ((other,),) = db.rows(LEADERS)
        assert other != leader[0]
        assert first.popen.poll() is None
    finally:
        os.kill(first.popen.pid, signal.SIGCONT)
    # it comes back and leads no more
    later = quick.start_many([[1]] * 3, delay=HOUR)
    due()
    eventually(lambda: {run.status for run in later} == {"succeeded"}, "scheduled runs that end")
    ((still,),) = db.rows(LEADERS)
    assert still == other
    for worker in (first, second):
        worker.terminate()
        assert worker.end()[0] == 0


@pytest.mark.slow
def test_two_sites_in_two_schemas_have_a_worker_and_a_keeper_each(site, monkeypatch):
    name = "second_site"
    workers = []
    with second_site(name, "auth_group"):
        try:
            workers.append(WorkerCommand())
            here = quick.start([1], delay=HOUR)
            due()
            with at_schema(name):
                monkeypatch.setenv("DATABASE_URL", f"{site['DATABASE_URL']}&options=-c%20search_path%3D{name}")
                workers.append(WorkerCommand())
                there = quick.start([1], delay=HOUR)
                due()
                eventually(lambda: there.status not in ("scheduled", "running"), "the second site's run ends")
                assert there.status == "succeeded", there.result().errors
                assert Worker.objects.count() == 1
                assert db.rows(LEADERS)
            eventually(lambda: here.status == "succeeded", "the first site's run")
            assert db.rows(LEADERS)
            assert Worker.objects.count() == 1
        finally:
            for worker in workers:
                worker.terminate()
            ends = [worker.end() for worker in workers]
        assert [code for code, _ in ends] == [0, 0], ends
    assert connection.settings_dict["OPTIONS"].get("options") is None


def test_a_session_that_hangs_in_a_transaction_of_the_worker_is_ended_by_the_server(work):
    """Its locks go with it: whoever waits for them goes on."""
    worker = work()
    eventually(lambda: worker.dispatcher.worker_id, "a worker")
    settings = []

    def look():
        db.serve_worker(by_index=True)
        settings.extend(db.rows("SELECT current_setting('idle_in_transaction_session_timeout')")[0])

    db.on_own_connection(look)
    assert settings == ["30s"]
