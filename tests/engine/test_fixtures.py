"""A site's own `dumpdata` loads again, and what a process remembers over that starts the right flow."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connections, transaction
from django.test import TransactionTestCase

from django_workflow import FlowBuilder, NotSupported, When, db, queue, testing
from django_workflow.engine.due import lost_messages
from django_workflow.engine.stored import versions
from django_workflow.ids import uuid7
from django_workflow.models import Event, FlowDefinition, FlowVersion, Run, StepRun, Task, Variables
from tests.emptying import empty_tables

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def looping(flow):
    """A flow with a loop, variables and a map: it writes to every table that is never changed."""

    @flow.step(next=[When("true", to="each", publish={"size": "3"})])
    def first():
        return [1, 2, 3]

    @flow.map(over="first", depends_on=[])
    def each(item):
        return item

    return flow


def dumped() -> str:
    text = io.StringIO()
    call_command("dumpdata", "django_workflow", stdout=text)
    return text.getvalue()


def load(text: str, tmp_path) -> None:
    path = tmp_path / "site.json"
    path.write_text(text)
    call_command("loaddata", str(path), verbosity=0)


def rows_of(*models):
    return {model: sorted(model.objects.values_list("pk", flat=True)) for model in models}


ALL = (FlowDefinition, FlowVersion, Run, StepRun, Task, Event, Variables)


def test_a_dump_of_the_site_loads_into_an_emptied_database_and_work_goes_on(looping, tmp_path):
    ended = looping.start(1)
    testing.run_until_idle()
    waiting = looping.start(2)
    before, text = rows_of(*ALL), dumped()
    empty_tables(TransactionTestCase())
    for name in queue.existing():
        queue.purge(name)
    assert not Run.objects.exists()
    load(text, tmp_path)
    assert {model: set(rows) >= set(before[model]) for model, rows in rows_of(*ALL).items()} == dict.fromkeys(ALL, True)
    assert ended.result().output == {"each": [1, 2, 3]}
    lost_messages.reconcile()
    later = looping.start(3)
    testing.run_until_idle()
    assert {run.status for run in (waiting, later)} == {"succeeded"}


def test_a_dump_loads_over_what_it_was_made_of(looping, tmp_path):
    looping.execute(1)
    before, text = rows_of(*ALL), dumped()
    load(text, tmp_path)
    assert rows_of(*ALL) == before


def test_fixtures_are_loaded_and_unloaded_as_a_site_does_it_between_tests(looping):
    """What `TransactionTestCase(serialized_rollback=True)` does."""
    creation = connections["default"].creation
    looping.execute(1)
    contents = creation.serialize_db_to_string()
    call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=True, reset_sequences=False)
    creation.deserialize_db_from_string(contents)
    assert looping.execute(1).status == "succeeded"


def test_a_row_with_a_chosen_key_can_be_saved(looping):
    run = looping.execute(1).run
    Variables(id=10**9, run=run, values={}).save()
    Event(id=10**9, run=run, number=10**6, xid=1, created_at=datetime.now(UTC), type="mine").save()
    FlowVersion(id=10**9, flow=run.flow, number=99, fingerprint="x", spec={}).save()
    assert Event.objects.get(pk=10**9).type == "mine"


def test_a_flow_without_versions_can_be_deleted_though_versions_cannot(db):
    row = FlowDefinition.objects.create(slug="never_published")
    row.delete()
    assert not FlowDefinition.objects.filter(slug="never_published").exists()


def test_only_the_microseconds_of_a_time_may_get_lost(looping):
    looping.execute(1)
    event = Event.objects.first()
    truncated = event.created_at.replace(microsecond=event.created_at.microsecond // 1000 * 1000)
    Event.objects.filter(pk=event.pk).update(created_at=truncated)
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        Event.objects.filter(pk=event.pk).update(created_at=datetime.now(UTC))


# what a process remembers


def test_the_id_of_a_version_names_its_definition_in_every_database(make_flow):
    one, other = make_flow(), make_flow()
    for flow in (one, other):
        flow.step(lambda: 1, name="only")
    ids = {flow.slug: versions.version_of(flow.spec) for flow in (one, other)}
    empty_tables(TransactionTestCase())
    versions.published.forget()
    assert {flow.slug: versions.version_of(flow.spec) for flow in (other, one)} == ids


def test_a_start_after_a_restore_does_not_use_a_version_that_went_with_it(make_flow):
    one, other = make_flow(), make_flow()
    for flow in (one, other):
        flow.step(lambda: 1, name="only")
    one.start()
    remembered = dict(versions.published.versions), dict(versions.published.specs), set(versions.published.queues)
    empty_tables(TransactionTestCase())
    versions.published.versions, versions.published.specs, versions.published.queues = remembered
    with transaction.atomic():
        run = one.start()
        kept = other.start()
    testing.run_until_idle()
    assert (run.status, run.run.flow.slug) == ("succeeded", one.slug)
    assert (kept.status, kept.run.flow.slug) == ("succeeded", other.slug)
    assert FlowVersion.objects.filter(pk=run.run.version_id).exists()


def test_a_start_makes_a_queue_again_whose_table_is_gone(looping):
    looping.start()
    db.rows("SELECT pgmq.drop_queue('wfq_default')")
    assert "default" not in queue.existing()
    run = looping.start()
    testing.run_until_idle()
    assert run.status == "succeeded"


def test_ids_that_a_fixture_has_taken_are_not_drawn(looping, tmp_path):
    looping.start()
    text = dumped()
    highest = max(Task.objects.values_list("pk", flat=True))
    # spare ids of this process, which the rows of somebody else's dump have
    taken = Task.objects.get(pk=highest)
    for number in range(1, 20):
        Task(
            id=highest + number, run_id=taken.run_id, step_run_id=taken.step_run_id, index=number, status="held",
            queue="default",
        ).save()  # fmt: skip
    load(text, tmp_path)
    run = looping.start()
    assert Task.objects.filter(run_id=run.id).count() == 1
    testing.run_until_idle()
    assert run.status == "succeeded"


def test_a_sequence_that_was_not_restored_with_its_rows_catches_up(looping):
    """What a copy of the rows alone leaves behind."""
    looping.start()
    run = looping.start()
    versions.published.forget()
    for table in ("task", "steprun", "variables"):
        db.rows("SELECT setval(pg_get_serial_sequence(%s, 'id'), 1)", [f"django_workflow_{table}"])
    testing.run_until_idle()
    later = looping.start()
    testing.run_until_idle()
    assert {run.status, later.status} == {"succeeded"}


def test_a_run_id_of_another_flows_run_is_refused(make_flow):
    one, other = make_flow(), make_flow()
    for flow in (one, other):
        flow.step(lambda: 1, name="only")
    run_id = uuid7()
    assert one.start(run_id=run_id).id == one.start(run_id=run_id).id == run_id
    with pytest.raises(NotSupported, match="is not of flow"):
        other.start(run_id=run_id)
    assert Run.objects.count() == 1


def test_a_stored_flow_has_the_same_id_wherever_it_is_made(unique):
    slug = unique("stored")
    first = FlowBuilder.create_flow(slug).row.pk
    FlowBuilder.delete_flow(slug)
    assert FlowBuilder.create_flow(slug).row.pk == first
