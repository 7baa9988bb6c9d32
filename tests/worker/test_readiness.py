"""A worker that cannot begin says why and what to do; one that begins warns of what is hardly meant."""

from __future__ import annotations

import contextlib
import logging

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_workflow import Flow, db
from django_workflow.definition.registry import registry
from django_workflow.engine.stored import versions
from django_workflow.models import Worker
from django_workflow.read import rights
from django_workflow.worker import readiness, registration


@pytest.fixture(autouse=True)
def committed():
    """These look at a database; no worker begins."""


@pytest.fixture
def role(db):
    """A role of this transaction alone, which this session takes on."""

    def take_on(name):
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {name}")
            cursor.execute(f"SET LOCAL ROLE {name}")

    return take_on


def sql(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def as_owner(*statements):
    sql("RESET ROLE", *statements)


def grants_of(error):
    return [line.strip() for line in str(error).splitlines()[1:]]


def test_a_database_that_serves_a_worker_is_ready(db):
    versions.ensure_queues(["default"])
    readiness.check(["default"])


def test_without_tables_it_names_migrate(db):
    sql("CREATE SCHEMA empty", "SET LOCAL search_path TO empty")
    with pytest.raises(readiness.NotReady, match=r"'default' has no tables of workflows. Run manage.py migrate"):
        readiness.check(["default"])


def test_without_pgmq_it_says_how_to_install_it(db):
    sql("ALTER SCHEMA pgmq RENAME TO pgmq_elsewhere")
    with pytest.raises(readiness.NotReady, match="not pgmq"):
        readiness.check(["default"])


def test_a_role_without_rights_is_told_the_statements_that_are_enough(role):
    versions.ensure_queues(["default"])
    role("shop_app")
    with pytest.raises(readiness.NotReady, match="Role shop_app lacks rights that a worker needs") as refused:
        readiness.check(["default"])
    grants = grants_of(refused.value)
    assert grants[0] == "GRANT USAGE ON SCHEMA pgmq TO shop_app;"
    as_owner(*grants, "SET LOCAL ROLE shop_app")
    readiness.check(["default"])


def test_one_missing_right_is_named_alone(role):
    versions.ensure_queues(["default"])
    role("shop_app")
    with pytest.raises(readiness.NotReady) as refused:
        readiness.check(["default"])
    as_owner(
        *grants_of(refused.value), "REVOKE DELETE ON django_workflow_task FROM shop_app", "SET LOCAL ROLE shop_app"
    )
    with pytest.raises(readiness.NotReady) as refused:
        readiness.check(["default"])
    assert grants_of(refused.value) == [f"GRANT DELETE ON TABLE {_schema()}.django_workflow_task TO shop_app;"]


def _schema():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'django_workflow_task'")
        return cursor.fetchone()[0]


def test_a_queue_that_a_role_may_not_make_is_named(role):
    versions.ensure_queues(["default"])
    role("shop_app")
    with pytest.raises(readiness.NotReady) as refused:
        readiness.check(["default"])
    as_owner(*grants_of(refused.value), "SET LOCAL ROLE shop_app")
    with pytest.raises(readiness.NotReady, match="There is no queue payments, and role shop_app may not make it"):
        readiness.check(["payments"])
    as_owner("GRANT CREATE ON SCHEMA pgmq TO shop_app", "SET LOCAL ROLE shop_app")
    readiness.check(["payments"])


def test_the_command_refuses_in_words(db):
    sql("CREATE SCHEMA empty", "SET LOCAL search_path TO empty")
    with pytest.raises(CommandError, match=r"Run manage.py migrate, then start the worker again"):
        call_command("run_workflow_worker", "--drain", "--quiet")


def test_a_queue_that_no_flow_uses_is_warned_of_with_those_that_are(make_flow, db, caplog):
    flow = make_flow(queue="payments")
    flow.step(name="only")(lambda: 1)
    caplog.set_level(logging.WARNING, "django_workflow.worker")
    readiness.warn(["default", "payments", "paymnets"])
    (record,) = caplog.records
    assert record.getMessage().startswith("No flow uses queue paymnets, which this worker serves; flows use ")
    assert "payments" in record.getMessage()
    assert record.getMessage().endswith("Did you mean payments?")


def no_other_flows(monkeypatch):
    monkeypatch.setattr(registry, "_flows", {})
    sql("SET LOCAL django_workflow.retention = 'on'", "DELETE FROM django_workflow_flowversion")


def test_the_default_queue_is_warned_of_where_no_flow_uses_it_nor_another_served_one(db, caplog, monkeypatch, unique):
    no_other_flows(monkeypatch)
    Flow(unique(), queue="payments").step(name="only")(lambda: 1)
    readiness.warn(["default", "payments"])
    assert caplog.records == []
    readiness.warn(["default"])
    (record,) = caplog.records
    said = (
        "No flow uses queue default, which this worker serves; flows use payments. Name those to serve with --queues."
    )
    assert record.getMessage() == said


def test_a_worker_of_a_site_without_flows_asks_for_the_app(db, caplog, monkeypatch):
    no_other_flows(monkeypatch)
    readiness.warn(["default"])
    (record,) = caplog.records
    assert "No flow is known, neither in code nor in the database" in record.getMessage()


def test_queues_of_stored_versions_are_used(flow, db, caplog):
    flow.step(name="only", queue="older")(lambda: 1)
    flow.start()
    flow.drafts.clear()
    flow._compiled = None
    readiness.warn(["older"])
    assert caplog.records == []


def test_migrations_that_are_not_applied_are_warned_of(db, caplog):
    sql("DELETE FROM django_migrations WHERE app = 'django_workflow' AND name LIKE '0002%'")
    readiness.warn(["default"])
    assert "migrations are not applied: 0002_queues_and_storage; run manage.py migrate" in caplog.text


class Planned:
    app_label = "django_workflow"


def test_migrate_by_a_role_without_create_says_what_to_grant(role):
    sql("ALTER SCHEMA pgmq RENAME TO pgmq_elsewhere")
    role("shop_app")
    as_owner(f"REVOKE CREATE ON SCHEMA {_schema()} FROM PUBLIC", "SET LOCAL ROLE shop_app")
    with pytest.raises(CommandError) as refused:
        rights.check_before_migrate(None, using="default", plan=[(Planned, False)])
    text = str(refused.value)
    assert "Role shop_app may not create what workflows need in database" in text
    assert f"GRANT CREATE ON SCHEMA {_schema()} TO shop_app;" in text
    assert "GRANT CREATE ON DATABASE " in text
    assert text.endswith("Then run manage.py migrate again.")


def test_migrate_of_other_apps_is_left_alone(role):
    role("shop_app")
    rights.check_before_migrate(None, using="default", plan=[])


def test_a_session_that_is_cut_while_a_worker_registers_is_told(transactional_db, workflow_queues, monkeypatch):
    monkeypatch.setattr(registration, "REGISTER", "SELECT pg_terminate_backend(pg_backend_pid()), %s, %s, %s, %s, %s")
    with pytest.raises(CommandError, match="The connection to the database ended while the worker started"):
        call_command("run_workflow_worker", drain=True, quiet=True)
    with CaptureQueriesContext(connection) as seen:
        assert db.rows("SELECT 1") == [(1,)]
    assert len(seen) == 1, "the caller's connection is a worker's no more"


@pytest.mark.parametrize("by_hand", [False, True], ids=["atomic", "by hand"])
def test_the_command_refuses_to_discard_its_callers_transaction(transactional_db, by_hand):
    if by_hand:
        transaction.set_autocommit(False)
    try:
        with contextlib.nullcontext() if by_hand else transaction.atomic():
            Group.objects.create(name="before")
            with pytest.raises(CommandError, match=r"in a transaction.*in tests use django_workflow\.testing"):
                call_command("run_workflow_worker", drain=True, quiet=True)
            Group.objects.create(name="after")
        transaction.commit() if by_hand else None
    finally:
        transaction.set_autocommit(True)
    assert set(Group.objects.values_list("name", flat=True)) == {"before", "after"}
    assert not Worker.objects.exists()


def test_the_command_refuses_in_the_transaction_of_a_test(db):
    with pytest.raises(CommandError, match="This connection is in a transaction"):
        call_command("run_workflow_worker", drain=True, quiet=True)
