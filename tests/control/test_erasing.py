"""Erasing runs: nothing of theirs stays but the word that they were erased; nobody deletes a part of one."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.urls import reverse

from django_workflow import (
    FlowBuilder,
    NotSupported,
    Retry,
    RunBusy,
    RunNotFound,
    Skip,
    To,
    aerase,
    erase,
    handler,
    testing,
)
from django_workflow.definition.registry import registry
from django_workflow.engine.removal import erasing
from django_workflow.engine.removal.unused import remove_gone
from django_workflow.engine.stored import locking
from django_workflow.models import Erasure, Event, FlowDefinition, FlowVersion, Queue, Run, StepRun, Task, Worker
from tests.commands.shell import workflow
from tests.races.sessions import sessions

pytestmark = pytest.mark.django_db

SECRET = "s3cret"


@pytest.fixture
def telling(make_flow):
    """A flow that says a secret wherever something can be said."""
    flow = make_flow("telling", vars={"secret": f"'{SECRET}'"}, output={"out": "vars.secret"})

    @flow.step(name="say", next=["skipping"])
    def say(input, ctx):
        ctx.emit("custom", {"by": SECRET})
        ctx.emit("step.completed", {"by": SECRET})
        ctx.logger.warning("it is %s", SECRET)
        return SECRET

    @flow.step(name="skipping", next=[To("each", on="skipped")])
    def skipping():
        return Skip(SECRET)

    @flow.map(name="each", over="input.items", retry=Retry(max_attempts=1))
    def each(item):
        raise ValueError(SECRET)

    return flow


def settled(flow, **options):
    run = flow.start({"items": [SECRET, "b"], "name": SECRET}, labels={"person": "7"}, **options)
    testing.run_until_idle()
    assert run.status == "failed"
    return run


def texts():
    """Return all that the tables of the package hold of runs, as text."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_app_config("django_workflow").get_models():
            if model._meta.proxy or model in (FlowDefinition, FlowVersion, Queue, Erasure):
                continue
            cursor.execute(f"SELECT coalesce(string_agg(t::text, chr(10)), '') FROM \"{model._meta.db_table}\" t")
            found[model.__name__] = cursor.fetchone()[0]
    return found


def test_erasing_a_run_leaves_nothing_but_the_word_of_it(telling):
    run = settled(telling)
    again = run.retry()
    testing.run_until_idle()
    assert SECRET in "".join(texts().values())
    erased = erase(again, reason="asked by person 7", by="clerk")
    assert erased.runs == 2
    assert erased.rows["run"] == 2
    assert erased.rows["task"] >= 6
    assert {name: text for name, text in texts().items() if text} == {}
    rows = Erasure.objects.order_by("id")
    assert {row.run_id for row in rows} == {run.id, again.id}
    assert {(row.what, row.by, row.reason, row.flow_slug) for row in rows} == {
        ("run", "clerk", "asked by person 7", telling.slug)
    }
    assert rows[0].counts["steprun"] == 3


def test_erasing_payloads_keeps_what_happened(telling):
    run = settled(telling, title="order 7")
    steps = list(StepRun.objects.values_list("step", "status", "ended_at"))
    count, ended_at = Task.objects.count(), run.run.ended_at
    erased = run.erase(payloads_only=True, by="clerk")
    assert erased.runs == 1
    left = {name: text for name, text in texts().items() if SECRET in text}
    assert left == {}
    run.refresh()
    assert run.run.erased_at is not None
    assert run.run.error == {"step": "each", "class": "ValueError", "message": ""}
    assert run.run.title == "order 7"
    assert list(StepRun.objects.values_list("step", "status", "ended_at")) == steps
    assert (Task.objects.count(), run.run.ended_at) == (count, ended_at)
    assert Event.objects.filter(type="run.failed").count() == 1
    assert Erasure.objects.get().what == "payloads"
    with pytest.raises(NotSupported, match=r"payloads of run .* were erased; start a new run"):
        run.retry()


def test_a_run_that_has_not_settled_is_not_erased(telling):
    run = telling.start({"items": []})
    with pytest.raises(NotSupported, match=r"is running; only a settled run can be erased\. Cancel it first"):
        erase(run)
    with pytest.raises(RunNotFound):
        erase("00000000-0000-7000-8000-000000000000")
    assert Erasure.objects.count() == 0


def test_a_run_of_a_later_batch_that_has_not_settled_keeps_all_from_being_erased(telling, monkeypatch):
    monkeypatch.setattr(erasing, "BATCH", 1)
    ended, running = settled(telling), telling.start({"items": []})
    with pytest.raises(NotSupported, match=f"Run {running.id} is running"):
        erasing.erase([ended.id, running.id])
    assert (Run.objects.count(), Erasure.objects.count()) == (2, 0)


@pytest.mark.django_db(transaction=True)
def test_a_run_of_a_later_batch_that_is_held_is_told_with_what_was_erased(flow, workflow_queues, monkeypatch):
    monkeypatch.setattr(erasing, "BATCH", 2)
    monkeypatch.setattr(locking, "WAIT_MS", 50)
    flow.step(name="only")(lambda: 1)
    ids = sorted(flow.start().cancel().id for _ in range(3))
    with sessions() as make:
        other = make()
        other.begin()
        other.do(locking.lock_patiently, [ids[-1]])
        with pytest.raises(RunBusy, match=r"2 of 3 runs were erased before; erase the others when it has ended"):
            erasing.erase(ids)
        with pytest.raises(RunBusy, match="Nothing was changed"):
            erasing.erase(ids[-1:])
        other.rollback()
    assert (Run.objects.count(), Erasure.objects.count()) == (1, 2)


@pytest.mark.parametrize("model", [Run, StepRun, Task])
def test_the_database_refuses_to_delete_a_part_of_a_run(telling, model):
    settled(telling)
    with pytest.raises(IntegrityError, match="deleted by retention only") as caught, transaction.atomic():
        model.objects.all().delete()
    assert "django_workflow.erase()" in str(caught.value)


def prune(*arguments):
    return workflow(*arguments, command="workflow_prune")


def test_prune_refuses_two_values_of_one_label():
    with pytest.raises(CommandError, match="--label person has two values, '7' and '8': a run has one of each"):
        call_command("workflow_prune", "--label", "person=7", "--label", "person=8")


def test_prune_erases_runs_by_id_and_label(telling):
    first, _, _ = (settled(telling) for _ in range(3))
    assert prune("--run", first.id, "--dry-run").out == "1 run would be erased, retries included.\n"
    told = prune("--run", first.id, "--payloads", "--by", "clerk").out
    assert told.startswith("The payloads of 1 run erased, retries included; rows: attempt 2, event")
    answer = prune("--label", "person=7", "--json", "--reason", "asked").json
    assert answer["runs"] == 3
    assert answer["rows"]["run"] == 3
    assert Run.objects.count() == 0
    assert Erasure.objects.filter(what="run").count() == 3
    assert prune("--label", "person=7").out == "0 runs erased, retries included.\n"
    with pytest.raises(CommandError, match="Whose payloads"):
        prune("--payloads")


def test_the_async_twin(telling):
    run = telling.start({"items": []}).cancel()
    assert async_to_sync(aerase)(run).runs == 1


class TestGone:
    @pytest.fixture
    def gone(self, make_flow):
        """Return a function that takes a flow out of the code; what a test declared is forgotten anyway."""
        return lambda flow: registry._flows.pop(flow.slug)

    def test_flows_without_runs_are_removed_and_their_queue(self, make_flow, gone):
        flow = make_flow("unused", queue="unused_queue")
        flow.step(name="only")(lambda: None)
        flow.start().cancel()
        erase(Run.objects.get())
        gone(flow)
        assert prune("--gone", "--dry-run").out == (
            f"would be: flow {flow.slug}: removed\nwould be: queue unused_queue: removed\n"
        )
        assert FlowDefinition.objects.filter(slug=flow.slug).exists()
        removed = remove_gone()
        assert (removed.flows, removed.queues) == ([flow.slug], ["unused_queue"])
        assert not FlowDefinition.objects.filter(slug=flow.slug).exists()
        assert not Queue.objects.filter(name="unused_queue").exists()
        assert prune("--gone").out == "Nothing is gone.\n"

    def test_a_removed_flow_and_queue_come_again_with_a_start(self, make_flow, gone):
        flow = make_flow("again", queue="again_queue")
        flow.step(name="only")(lambda: 1)
        flow.start().cancel()
        erase(Run.objects.get())
        gone(flow)
        remove_gone()
        assert flow.execute().output == {"only": 1}
        run = flow.start()
        testing.run_until_idle()
        assert run.status == "succeeded"

    def test_flows_with_settled_runs_are_retired_and_not_on_the_board(self, make_flow, gone, admin_client):
        flow = make_flow("had_runs")
        flow.step(name="only")(lambda: None)
        run = flow.start()
        gone(flow)
        assert remove_gone().kept == [flow.slug]
        run.cancel()
        removed = remove_gone()
        assert (removed.retired, removed.flows) == ([flow.slug], [])
        assert FlowDefinition.objects.get(slug=flow.slug).retired_at is not None
        board = admin_client.get(reverse("django_workflow:board")).context
        assert flow.slug not in {shown.slug for shown, _ in [*board["flows"], *board["more_flows"]]}
        erase(run)
        assert remove_gone().flows == [flow.slug]

    def test_versions_without_runs_and_silent_workers_go(self, make_flow):
        flow = make_flow("changing")
        flow.step(name="only")(lambda: None)
        flow.start().cancel()
        erase(Run.objects.get())
        flow.step(name="more")(lambda only: None)
        flow.start()
        Worker.objects.create(
            hostname="old", pid=1, queues=[], concurrency=1, lease_seconds=30, heartbeat_at="2020-01-01T00:00Z"
        )
        Worker.objects.create(hostname="new", pid=1, queues=[], concurrency=1, lease_seconds=30)
        removed = remove_gone()
        assert (removed.versions, removed.workers) == (1, 1)
        assert FlowVersion.objects.get(flow__slug=flow.slug).number == 2
        assert Worker.objects.get().hostname == "new"

    def test_a_stored_flow_can_be_retired_and_published_again(self, unique):
        handler(name := unique("named"))(lambda: None)
        flow = FlowBuilder.create_flow(unique("stored"))
        FlowBuilder.add_step(flow, "only", handler=name)
        flow.start().cancel()
        with pytest.raises(NotSupported, match="retire it"):
            FlowBuilder.delete_flow(flow)
        FlowBuilder.retire_flow(flow)
        assert FlowDefinition.objects.get(slug=flow.slug).retired_at is not None
        FlowBuilder.publish(flow)
        assert FlowDefinition.objects.get(slug=flow.slug).retired_at is None


@pytest.mark.django_db(transaction=True)
def test_nobody_learns_of_what_a_rolled_back_transaction_stored(unique, workflow_queues):
    handler(name := unique("named"))(lambda: None)

    with transaction.atomic():
        flow = FlowBuilder.create_flow("acquire_competitor", queue="acquire_competitor")
        FlowBuilder.add_step(flow, "only", handler=name)
        flow.start()
        transaction.set_rollback(True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pgmq.meta WHERE queue_name LIKE '%%competitor%%'")
        assert cursor.fetchone() == (0,)
    assert not FlowDefinition.objects.filter(slug="acquire_competitor").exists()
    assert not FlowVersion.objects.filter(spec__slug="acquire_competitor").exists()
    assert not Queue.objects.filter(name="acquire_competitor").exists()
