"""What the keeper does: due tasks, deadlines, lost messages, lost local runs, retention."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.db import transaction

from django_workflow import Retry, RetryAfter, To, db, queue, testing
from django_workflow.engine.due import agenda, arrivals, deadlines, delayed_tasks, lost_messages, scheduled_runs
from django_workflow.engine.due.agenda import Due
from django_workflow.engine.removal import retention
from django_workflow.engine.stored import versions
from django_workflow.engine.tasks import claim
from django_workflow.engine.verbs import start
from django_workflow.engine.verbs.start import StartRequest
from django_workflow.models import (
    Arrival,
    Attempt,
    Dismissal,
    Erasure,
    Event,
    FlowDefinition,
    FlowVersion,
    Leader,
    Message,
    Queue,
    Renumbering,
    Run,
    StepRun,
    Task,
    TaskLog,
    Variables,
    Worker,
)
from django_workflow.worker.loops.keeper import CANDIDATE_EVERY, Keeper

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
#: What is defined stays; all else goes with the runs.
DEFINITIONS = {FlowDefinition, FlowVersion, Leader, Queue, Renumbering}
#: Messages belong to no run; what was erased of one is told for ever.
NOT_OF_RUNS = {Erasure, Message}


@pytest.fixture
def simple(flow):
    flow.step(name="only")(lambda: "done")
    return flow


@pytest.fixture
def waiting(flow):
    """A flow whose only step waits an hour before its second attempt."""
    flow.step(name="later")(lambda ctx: RetryAfter(HOUR) if ctx.attempt == 1 else "done")
    return flow


def depth():
    return sum(queue.depth(name)[1] for name in queue.existing())


def ago(run_id, time):
    """Let a run have ended `time` ago."""
    sql = "UPDATE django_workflow_run SET ended_at = clock_timestamp() - %s::interval WHERE id = %s"
    db.execute(sql, [time, run_id])


def test_delayed_task_is_sent_when_it_is_due_and_not_before(waiting, db):
    handle = waiting.start()
    testing.run_until_idle()
    assert (delayed_tasks.send_due_tasks(), depth()) == (0, 0)
    Task.objects.update(due_at="2020-01-01T00:00Z")
    assert delayed_tasks.send_due_tasks() == 1
    assert Task.objects.get(run_id=handle.id).message_id is not None
    assert (delayed_tasks.send_due_tasks(), depth()) == (0, 1)


def test_due_task_of_a_local_run_is_left_to_its_process(waiting, db):
    run_id = start.start(waiting.current_spec(), [StartRequest(is_local=True)])[0]
    Task.objects.of_run(run_id).update(due_at="2020-01-01T00:00Z")
    assert (delayed_tasks.send_due_tasks(), depth()) == (0, 0)


def test_what_is_due_tells_what_and_when(simple, waiting, db):
    assert agenda.what_is_due() == Due(*[False] * 5, None)
    waiting.start()
    testing.run_until_idle()
    waiting.start(delay=HOUR / 2)
    due = agenda.what_is_due()
    assert due == Due(*[False] * 5, due.seconds_to_next)
    assert due.seconds_to_next == pytest.approx(1800, abs=10)
    Run.objects.filter(status="scheduled").update(due_at="2020-01-01T00:00Z")
    Run.objects.filter(status="running").update(deadline_at="2020-01-01T00:00Z")
    Task.objects.update(due_at="2020-01-01T00:00Z")
    due = agenda.what_is_due()
    assert (due.tasks, due.runs, due.deadlines) == (True, True, True)


REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'data_exception'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON django_workflow_task
        FOR EACH ROW WHEN (new.run_id = '%s') EXECUTE FUNCTION refuse()
"""


def refuse_tasks_of(handle):
    """Let the database refuse whatever would start in a run."""
    db.run_script(REFUSE % handle.id)


@pytest.mark.parametrize("wait", [1e15, 1e300])
def test_a_scheduled_run_whose_delay_is_too_long_fails_and_the_others_begin(make_flow, simple, db, wait):
    flow = make_flow()
    flow.step(name="waits", delay="input.wait")(lambda: 1)
    poison, fine = flow.start({"wait": wait}, delay=HOUR), simple.start(delay=HOUR)
    testing.advance(HOUR)
    testing.run_until_idle()
    assert (poison.status, fine.status) == ("failed", "succeeded")
    assert "delay of step 'waits'" in poison.result().error["message"]


def test_a_scheduled_run_whose_variables_are_too_large_fails_and_the_others_begin(make_flow, simple, settings, db):
    flow = make_flow(vars={"a": "input", "b": "input"})
    flow.step(name="only")(lambda: 1)
    poison, fine = flow.start("x" * 60, delay=HOUR), simple.start(delay=HOUR)
    settings.DJANGO_WORKFLOW = {"MAX_OUTPUT_BYTES": 100}
    testing.advance(HOUR)
    testing.run_until_idle()
    assert (poison.status, fine.status) == ("failed", "succeeded")
    assert poison.result().error["message"].startswith("variables of the flow: 135 bytes")


def test_a_scheduled_run_that_the_database_refuses_fails_alone(simple, db):
    first, poison, last = simple.start_many(range(3), delay=HOUR)
    refuse_tasks_of(poison)
    testing.advance(HOUR)
    assert scheduled_runs.begin_due() == 3
    assert [first.status, poison.status, last.status] == ["running", "failed", "running"]
    assert "refused" in poison.result().error["message"]
    assert Event.objects.filter(run_id=poison.id, type="run.failed").count() == 1
    assert scheduled_runs.begin_due() == 0


def test_a_run_whose_delayed_arrival_the_database_refuses_fails_alone(make_flow, db):
    flow = make_flow(entry=["a", "b"])
    flow.step(name="a", next=[To("meet", delay=HOUR)])(lambda: 1)
    flow.step(name="b", next=["meet"])(lambda: 1)
    flow.step(name="meet", join="all")(lambda: 1)
    first, poison, last = flow.start_many(range(3))
    testing.run_until_idle()
    refuse_tasks_of(poison)
    testing.advance(HOUR)
    testing.run_until_idle()
    assert [first.status, poison.status, last.status] == ["succeeded", "failed", "succeeded"]
    testing.assert_settled(poison, "failed", steps={"a": "succeeded", "b": "succeeded", "meet": "cancelled"})


def test_arrivals_of_versions_that_others_decide_do_not_keep_these_waiting(make_flow, monkeypatch, db):
    handles = []
    for _ in range(2):
        flow = make_flow(entry=["a", "b"])
        flow.step(name="a", next=[To("meet", delay=HOUR)])(lambda: 1)
        flow.step(name="b", next=["meet"])(lambda: 1)
        flow.step(name="meet", join="all")(lambda: 1)
        handles += flow.start_many(range(2))
    testing.run_until_idle()
    testing.advance(HOUR)
    foreign = handles[0].run.version_id
    monkeypatch.setattr(versions, "can_decide", lambda version_id: version_id != foreign)
    assert [arrivals.arrive_due(limit=1) for _ in range(3)] == [1, 1, 0]
    monkeypatch.undo()
    assert arrivals.arrive_due() == 2


def test_overdue_run_is_ended_with_all_its_rows(waiting, db):
    handle = waiting.start()
    testing.run_until_idle()
    Run.objects.update(deadline_at="2020-01-01T00:00Z")
    assert deadlines.end_overdue_runs() == 1
    testing.assert_settled(handle, "timed_out", steps={"later": "cancelled"})
    assert Event.objects.filter(run_id=handle.id, type="run.timed_out").count() == 1
    assert deadlines.end_overdue_runs() == 0


def test_overdue_runs_end_beside_one_that_nobody_here_could_begin(simple, waiting, monkeypatch, db):
    foreign, handle = simple.start(delay=HOUR), waiting.start()
    Run.objects.update(deadline_at="2020-01-01T00:00Z")
    Run.objects.filter(pk=foreign.id).update(due_at="2020-01-01T00:00Z")
    monkeypatch.setattr(versions, "can_decide", lambda version_id: False)
    assert scheduled_runs.begin_due() == 0
    assert deadlines.end_overdue_runs() == 2
    assert (foreign.status, handle.status) == ("timed_out", "timed_out")


def test_reconcile_sends_anew_for_tasks_whose_message_is_gone(simple, db):
    handles = simple.start_many(range(5))
    testing.clean_queues()
    assert testing.run_until_idle() == 0
    assert lost_messages.reconcile() is None
    assert depth() == 5
    testing.run_until_idle()
    assert all(handle.status == "succeeded" for handle in handles)


def test_reconcile_leaves_alone_what_has_its_message(simple, waiting, make_flow, db):
    other = make_flow()
    other.step(name="only")(lambda: None)
    other.start_many(range(3))
    before = list(Task.objects.values_list("id", "message_id"))
    lost_messages.reconcile()
    assert list(Task.objects.values_list("id", "message_id")) == before
    assert depth() == 3


def test_reconcile_does_not_send_before_a_task_is_due(waiting, db):
    handle = waiting.start()
    testing.run_until_idle()
    lost_messages.reconcile()
    assert depth() == 0
    assert Task.objects.get(run_id=handle.id).message_id is None


def test_message_of_a_running_task_is_replaced_by_one_that_stays_hidden_for_a_lease(simple, db):
    handle = simple.start()
    (task,) = claim.claim("default", 1, slots=1, lease=60)
    testing.clean_queues()
    lost_messages.reconcile()
    assert queue.depth("default")[:2] == (0, 1)
    testing.settle([testing.perform(task)])
    assert handle.status == "succeeded"


def test_reconcile_goes_through_all_runs_in_batches(simple, db):
    simple.start_many(range(5))
    testing.clean_queues()
    after, rounds = None, 0
    while True:
        after = lost_messages.reconcile(after, limit=2)
        rounds += 1
        if after is None:
            break
    assert (rounds, depth()) == (3, 5)


def test_prune_deletes_old_runs_whole(flow, db):
    flow.step(name="root", next=To("noop", publish={"known": "1"}))(lambda: [1, 2])
    flow.map(name="each", over="root", tolerate=2, retry=Retry(max_attempts=1))(lambda item: 1 / 0)
    flow.step(name="side", depends_on=["root"])(lambda: None)
    flow.step(name="join", depends_on=["each", "side"])(lambda ctx: ctx.emit("mine"))
    old, young = (flow.execute().run_id for _ in range(2))
    for task in Task.objects.filter(status="failed"):
        Dismissal.objects.create(task=task, run_id=task.run_id, reason="known")
        TaskLog.objects.create(task=task, run_id=task.run_id, attempt=1, level=20, created_at=task.ended_at)
    Worker.objects.create(hostname="gone", pid=1, concurrency=1, lease_seconds=1, heartbeat_at="2020-01-01T00:00Z")
    ago(old, 8 * DAY)
    assert {model.__name__ for model in kept_by_retention() if not model.objects.exists()} == set()
    assert retention.prune(7 * DAY) == 1
    assert [run.pk for run in Run.objects.all()] == [young]
    for model in (StepRun, Arrival, Variables, Task, Attempt, Event, TaskLog, Dismissal):
        assert set(model.objects.values_list("run_id", flat=True)) == {young}, model
    ago(young, 8 * DAY)
    retention.prune(7 * DAY)
    assert {model.__name__: model.objects.count() for model in kept_by_retention() if model.objects.exists()} == {}


def kept_by_retention():
    """Every table of ours that grows with what runs: a new one must find its owner in `prune`."""
    return set(apps.get_app_config("django_workflow").get_models()) - DEFINITIONS - NOT_OF_RUNS


def test_prune_keeps_unsettled_runs_however_old(waiting, db):
    handle = waiting.start()
    db_run = Run.objects.filter(pk=handle.id)
    db_run.update(created_at="2020-01-01T00:00Z", started_at="2020-01-01T00:00Z")
    assert retention.prune(DAY) == 0
    assert db_run.exists()


def test_prune_works_in_batches_oldest_first(simple, db):
    ids = [simple.execute().run_id for _ in range(5)]
    for days, run_id in enumerate(ids, start=10):
        ago(run_id, days * DAY)
    assert retention.prune(DAY, limit=2) == 2
    assert set(Run.objects.values_list("pk", flat=True)) == set(ids[:3])
    assert retention.prune(DAY, limit=10) == 3


def test_dry_run_counts_and_deletes_nothing(simple, db):
    for _ in range(3):
        ago(simple.execute().run_id, 2 * DAY)
    simple.execute()
    assert retention.prune(DAY, limit=1, dry_run=True) == 3
    assert Run.objects.count() == 4


def test_idle_keeper_asks_once_per_round(simple, workflow_queues, django_assert_num_queries):
    keeper = Keeper()
    assert keeper.round() > 0
    with django_assert_num_queries(1):
        assert keeper.round() == pytest.approx(2.0)
    db.close()


def test_second_keeper_waits_for_the_first(workflow_queues):
    keeper, second = Keeper(), Keeper()
    keeper.round()
    assert db.on_own_connection(second.round) == CANDIDATE_EVERY
    keeper.finish()
    assert db.on_own_connection(second.round) < CANDIDATE_EVERY


def test_keeper_does_not_spin_over_what_it_cannot_do(waiting, workflow_queues):
    run_id = start.start(waiting.current_spec(), [StartRequest(is_local=True)])[0]
    Task.objects.of_run(run_id).update(due_at="2020-01-01T00:00Z")
    assert Keeper().round() > 0.5
    db.close()


def test_keeper_does_not_spin_over_what_somebody_holds(simple, workflow_queues):
    handle = simple.start(delay=HOUR)
    Run.objects.update(due_at="2020-01-01T00:00Z")
    keeper = Keeper()
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=handle.id)
        assert CANDIDATE_EVERY > db.on_own_connection(keeper.round) > 0.5
    assert db.on_own_connection(keeper.round) == 0.0
    assert handle.status == "running"


def test_a_duty_of_the_keeper_that_fails_leaves_the_others_to_be_done(
    simple, waiting, workflow_queues, monkeypatch, caplog
):
    def begin_due():
        raise ValueError("what nobody thought of")

    monkeypatch.setattr(scheduled_runs, "begin_due", begin_due)
    scheduled, overdue = simple.start(delay=HOUR), waiting.start()
    Run.objects.filter(pk=scheduled.id).update(due_at="2020-01-01T00:00Z")
    Run.objects.filter(pk=overdue.id).update(deadline_at="2020-01-01T00:00Z")
    keeper = Keeper()
    assert keeper.round() == 0.0
    assert (scheduled.status, overdue.status) == ("scheduled", "timed_out")
    assert keeper.round() > 0.5  # it does not spin over what it cannot do
    db.close()
    assert "a duty of the keeper failed" in caplog.messages


def test_keeper_repairs_now_and_then(simple, workflow_queues, settings, monkeypatch):
    monkeypatch.setattr("django_workflow.worker.loops.keeper.REPAIR_EVERY", 0.0)
    settings.DJANGO_WORKFLOW = {"RETENTION": DAY}
    old = simple.execute().run_id
    ago(old, 2 * DAY)
    lost = start.start(simple.current_spec(), [StartRequest(is_local=True)])[0]
    purged = simple.start()
    testing.clean_queues()
    Keeper().round()
    db.close()
    assert not Run.objects.filter(pk=old).exists()
    assert Run.objects.get(pk=lost).status == "failed"
    testing.run_until_idle()
    assert purged.status == "succeeded"
