"""The Django database engine over an embedded PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pgtrigger.migrations
import psycopg
import pytest
from django.core.management.commands import dbshell
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from django_workflow.contrib.embedded import binaries
from django_workflow.contrib.embedded.base import DatabaseWrapper
from django_workflow.contrib.embedded.launcher import Cluster

pytestmark = pytest.mark.slow

Connect = Callable[..., BaseDatabaseWrapper]


@pytest.fixture
def connect(folder: Path) -> Iterator[Connect]:
    made = []

    def connect(**options: Any) -> BaseDatabaseWrapper:
        entry = {
            "ENGINE": "django_workflow.contrib.embedded",
            "NAME": "shop",
            "OPTIONS": {"folder": str(folder), **options},
        }
        made.append(ConnectionHandler({"default": entry})["default"])
        return made[-1]

    yield connect
    for connection in made:
        connection.close()
        connection.close_pool()


@pytest.fixture(autouse=True)
def _connections_of_these_tests_are_allowed(django_db_blocker):
    with django_db_blocker.unblock():
        yield


def current_database(connection: BaseDatabaseWrapper) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        return cursor.fetchone()[0]


def test_server_starts_at_the_first_query_not_before(connect, cluster):
    connection = connect()
    assert not cluster.status().exists
    assert current_database(connection) == "shop"
    assert cluster.status().is_running


def test_engine_is_postgresql_to_all_who_ask(connect):
    connection = connect()
    assert connection.vendor == "postgresql"
    assert issubclass(connection.SchemaEditorClass, pgtrigger.migrations.DatabaseSchemaEditorMixin)
    with connection.schema_editor() as editor:
        editor.execute("CREATE TABLE made_by_the_editor ()")


def test_next_connection_restarts_a_crashed_server(connect, cluster):
    connection = connect()
    current_database(connection)
    cluster.stop("kill")
    with pytest.raises(OperationalError):
        current_database(connection)
    connection.close()
    assert current_database(connection) == "shop"


def test_known_database_costs_no_connection_to_look(connect, cluster, monkeypatch):
    connection = connect()
    current_database(connection)
    connection.close()
    monkeypatch.setattr(Cluster, "ensure_running", lambda *_: pytest.fail("looked again"))
    assert current_database(connection) == "shop"


def test_connection_pool(connect):
    connection = connect(pool={"min_size": 1, "max_size": 2})
    assert current_database(connection) == "shop"
    connection.close()
    assert current_database(connection) == "shop"
    assert connection.pool.get_stats()["pool_size"] <= 2


def test_connection_to_no_database_in_particular(connect):
    with connect()._nodb_cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == ("postgres",)


def test_parameters_serve_a_connection_of_ones_own(connect):
    params = connect().get_connection_params()
    assert "folder" not in params
    with psycopg.connect(**params) as connection:
        assert connection.info.dbname == "shop"


def test_settings_name_the_server_for_others(connect, cluster):
    settings = connect().settings_dict
    assert (settings["HOST"], settings["USER"]) == (str(cluster.socket_folder), "postgres")


def test_folder_is_beside_the_project_by_default(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    entry = {"ENGINE": "django_workflow.contrib.embedded", "NAME": "shop"}
    assert ConnectionHandler({"default": entry})["default"].cluster.folder == tmp_path / ".postgres"


def test_failing_start_is_an_operational_error_that_helps(connect, monkeypatch):
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_package")
    with pytest.raises(OperationalError, match="pip install"):
        current_database(connect())


def test_dbshell_uses_the_client_that_comes_with_the_server(connect, cluster, monkeypatch):
    monkeypatch.setattr(dbshell, "connections", {"default": connect()})
    calls = []
    monkeypatch.setattr("subprocess.run", lambda command, **_: calls.append(command))
    monkeypatch.setattr(DatabaseWrapper, "ensure_running", lambda _: calls.append("started"))
    dbshell.Command().handle(database="default", parameters=["-l"])
    started, command = calls
    assert started == "started"
    assert command[0] == str(binaries.find_binaries().psql)
    assert command[-2:] == ["-l", "shop"]
