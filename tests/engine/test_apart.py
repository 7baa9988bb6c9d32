"""One queue without its table, one row that nobody can read: each stops itself and nothing beside it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import InterfaceError, connection

from django_workflow import db, queue, testing
from django_workflow.engine.due import (
    arrivals,
    deadlines,
    delayed_tasks,
    lost_local_runs,
    lost_messages,
    scheduled_runs,
)
from django_workflow.engine.removal import retention
from django_workflow.engine.stored import versions
from django_workflow.engine.verbs import start
from django_workflow.models import Run, Task
from django_workflow.read import doctor
from django_workflow.worker.loops import keeper as keeping
from django_workflow.worker.loops.keeper import Keeper

pytestmark = pytest.mark.django_db(transaction=True)
HOUR = timedelta(hours=1)
PAST = "2020-01-01T00:00Z"


@pytest.fixture(autouse=True)
def _queues(workflow_queues):
    yield
    versions.restore_queues()


@pytest.fixture
def pair(make_flow):
    """Two flows, each with a queue of its own."""

    def declare(name):
        flow = make_flow(name)
        flow.step(lambda: 1, name="only", queue=name)
        return flow

    found = declare("lost"), declare("kept")
    for flow in found:
        flow.start()
    testing.run_until_idle()
    return found


@pytest.fixture
def drop_queue():
    def drop(name="lost"):
        db.run_script(f"DROP TABLE pgmq.q_{queue._name(name)}")

    return drop


@pytest.fixture
def cannot_be_restored(monkeypatch):
    """As where the role may not create tables."""
    monkeypatch.setattr(versions, "restore_queues", lambda: 0)


def texts(level):
    return [finding.text for finding in doctor.examine() if finding.level == level]


@pytest.mark.usefixtures("cannot_be_restored")
def test_delayed_tasks_of_a_queue_without_table_keep_no_others(pair, drop_queue):
    runs = [flow.start() for flow in pair for _ in range(2)]
    Task.objects.filter(status="queued").update(message_id=None, due_at=PAST)
    drop_queue()
    assert delayed_tasks.send_due_tasks() == 2
    testing.run_until_idle()
    assert [run.status for run in runs] == ["running", "running", "succeeded", "succeeded"]


@pytest.mark.usefixtures("cannot_be_restored")
def test_scheduled_runs_that_begin_in_a_queue_without_table_keep_no_others(pair, drop_queue):
    runs = [flow.start(delay=HOUR) for flow in pair]
    Run.objects.filter(status="scheduled").update(due_at=PAST)
    drop_queue()
    assert scheduled_runs.begin_due() == 1
    assert [run.status for run in runs] == ["scheduled", "running"]


@pytest.mark.usefixtures("cannot_be_restored")
def test_repair_of_a_queue_without_table_keeps_no_others(pair, drop_queue):
    runs = [flow.start() for flow in pair]
    queue.purge("kept")
    drop_queue()
    lost_messages.reconcile()
    testing.run_until_idle()
    assert [run.status for run in runs] == ["running", "succeeded"]


def test_runs_of_a_queue_without_table_can_be_ended(pair, drop_queue):
    lost, kept = (flow.start() for flow in pair)
    cancelled = pair[0].start()
    drop_queue()
    cancelled.cancel("enough")
    Run.objects.filter(pk__in=(lost.id, kept.id)).update(deadline_at=PAST)
    assert deadlines.end_overdue_runs() == 2
    assert [run.status for run in (lost, kept, cancelled)] == ["timed_out", "timed_out", "cancelled"]


def test_a_worker_serves_its_other_queues(pair, drop_queue, drain):
    lost, kept = (flow.start() for flow in pair)
    drop_queue()
    worker = drain(queues=("lost", "kept"))
    assert kept.status == "succeeded"
    assert worker.dispatcher.tally.succeeded >= 1
    assert lost.status in {"running", "succeeded"}


def test_the_keeper_makes_the_queue_again_and_its_tasks_run(pair, drop_queue):
    runs = [flow.start() for flow in pair]
    drop_queue()
    assert any("'lost' does not exist" in text for text in texts("error"))
    Keeper().round()
    assert not any("does not exist" in text for text in texts("error"))
    testing.run_until_idle()
    assert {run.status for run in runs} == {"succeeded"}


# rows


@pytest.fixture
def poisoned(pair):
    """Two scheduled runs that are due; the version of the first cannot be read, as one of a later release."""
    runs = [flow.start(delay=HOUR) for flow in pair]
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = 'replica'")
        cursor.execute(
            "UPDATE django_workflow_flowversion SET spec = '{\"steps\": 5}' WHERE id = %s", [runs[0].run.version_id]
        )
        cursor.execute("SET session_replication_role = 'origin'")
    versions.published.forget()
    Run.objects.filter(status="scheduled").update(due_at=PAST)
    return runs


@pytest.fixture
def single_version(flow):
    """The id of a version."""
    flow.step(lambda: 1, name="only")
    return flow.start().run.version_id


@pytest.mark.parametrize("how", ["unreadable", "gone"])
def test_a_run_whose_version_cannot_be_read_keeps_no_other_from_beginning(poisoned, how, caplog):
    if how == "gone":
        db.run_script(
            "SET session_replication_role = 'replica'; DELETE FROM django_workflow_flowversion"
            f" WHERE id = {poisoned[0].run.version_id}; SET session_replication_role = 'origin'"
        )
    assert scheduled_runs.begin_due() == 1
    assert scheduled_runs.begin_due() == 0
    assert [run.status for run in poisoned] == ["scheduled", "running"]
    assert caplog.text.count("cannot be read by this release") == 1, "it is told once, not each two seconds"
    assert arrivals.arrive_due() == 0
    told = " ".join(texts("error"))
    assert "1 unsettled runs are of versions that cannot be read" in told


def test_a_version_that_could_not_be_read_now_is_not_taken_for_unreadable(single_version, monkeypatch):
    def cut_off(version_id):
        raise InterfaceError("connection already closed")

    with monkeypatch.context() as broken:
        broken.setattr(versions, "spec_of", cut_off)
        with pytest.raises(InterfaceError):
            versions.readable_spec(single_version)
    assert versions.readable_spec(single_version) is not None


def test_doctor_tells_of_scheduled_runs_that_nobody_begins(poisoned):
    assert any("2 scheduled runs should have begun" in text for text in texts("warning"))


def test_a_run_that_cannot_be_ended_keeps_no_other(pair):
    bad, good = (flow.start() for flow in pair)
    Run.objects.filter(pk__in=(bad.id, good.id)).update(deadline_at=PAST)
    refuse("django_workflow_run", f"NEW.id = '{bad.id}' AND NEW.status = 'timed_out'")
    try:
        assert deadlines.end_overdue_runs() == 2
    finally:
        db.run_script("DROP FUNCTION refuse CASCADE")
    assert [run.status for run in (bad, good)] == ["running", "timed_out"]


def test_an_old_run_that_a_table_of_the_site_refers_to_keeps_no_other(pair):
    old = [flow.start() for flow in pair]
    testing.run_until_idle()
    Run.objects.update(ended_at=PAST)
    db.run_script("CREATE TABLE invoice (run_id uuid REFERENCES django_workflow_run DEFERRABLE INITIALLY DEFERRED)")
    try:
        db.execute("INSERT INTO invoice VALUES (%s)", [old[0].id])
        retention.prune(HOUR)
        assert list(Run.objects.values_list("pk", flat=True)) == [old[0].id]
    finally:
        db.run_script("DROP TABLE invoice")


def test_a_local_run_that_cannot_be_ended_keeps_no_other(pair):
    requests = [start.StartRequest(is_local=True)]
    bad, good = (start.start(flow.current_spec(), requests)[0] for flow in pair)
    refuse("django_workflow_run", f"NEW.id = '{bad}' AND NEW.status = 'failed'")
    try:
        assert lost_local_runs.end_lost_local_runs() == 1
    finally:
        db.run_script("DROP FUNCTION refuse CASCADE")
    assert Run.objects.get(pk=good).status == "failed"


def refuse(table: str, when: str) -> None:
    """Let the server refuse certain updates for ever."""
    db.run_script(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation'; END $$;"
        f" CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()"
    )


# duties


REPAIRS = {
    "restore_queues": keeping.lost_messages,
    "end_lost_local_runs": keeping.lost_local_runs,
    "reconcile": keeping.lost_messages,
    "prune": keeping.retention,
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_that_fails_leaves_the_others_to_be_done(pair, name, monkeypatch, settings):
    settings.DJANGO_WORKFLOW = {"RETENTION": HOUR}
    done = []

    def refused(*args):
        done.append("refused")
        raise ValueError("what nobody thought of")

    for other, module in REPAIRS.items():
        monkeypatch.setattr(module, other, refused if other == name else lambda *args: done.append(1) or 0)
    Keeper().round()
    assert (done.count("refused"), done.count(1)) == (1, 3)


def test_a_duty_that_loses_its_connection_each_time_leaves_the_others_to_be_done(pair, monkeypatch):
    def cut():
        return len(db.rows("SELECT pg_terminate_backend(pg_backend_pid())"))

    monkeypatch.setattr(scheduled_runs, "begin_due", cut)
    overdue, scheduled = pair[0].start(), pair[1].start(delay=HOUR)
    Run.objects.filter(pk=overdue.id).update(deadline_at=PAST)
    Run.objects.filter(pk=scheduled.id).update(due_at=PAST)
    Keeper().round()
    assert (overdue.status, scheduled.status) == ("timed_out", "scheduled")
