"""The example's database: there for as long as it is needed, and up to date, whoever else uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connection, connections

from django_workflow.contrib.embedded.base import DatabaseWrapper
from django_workflow.contrib.embedded.launcher import Cluster
from example_project.demo.output import say, shown
from example_project.orders.catalogue import stock_up

#: Any number that nobody else uses for an advisory lock in this database.
MIGRATING = 7_305_129_481
OTHER_CLIENTS = """
    SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
#: Seconds after which those who have left are really gone, and between two looks.
LEAVING, LOOK = 1.0, 0.05
STOP = "python3 run.py stop"


@contextmanager
def database() -> Iterator[None]:
    """Make the database ready. Behind the block, stop the PostgreSQL that was started for it, or say who goes on."""
    wrapper = connections[DEFAULT_DB_ALIAS]
    cluster = wrapper.cluster if isinstance(wrapper, DatabaseWrapper) else None
    is_ours = cluster is not None and cluster.pid is None
    try:
        _say_ready()
        yield
    finally:
        if cluster is not None:
            _end(cluster, is_ours=is_ours)


def prepare() -> None:
    """Apply what is missing of the migrations; a second process that does so waits for the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
    try:
        call_command("migrate", interactive=False, verbosity=0)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATING])


def _say_ready() -> None:
    """Start PostgreSQL, if it is the embedded one and does not run, and create the tables."""
    began = time.monotonic()
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0].split()[0]
    folder = connection.settings_dict["OPTIONS"].get("folder")
    say("PostgreSQL", f"{version}, {f'in {shown(folder)}' if folder else 'that of DATABASE_URL'}", began)
    began = time.monotonic()
    prepare()
    stock_up()
    say("Database", "tables and products are there", began)


def _end(cluster: Cluster, *, is_ours: bool) -> None:
    """Stop a PostgreSQL that was started here and that nobody else uses; else say how to stop it."""
    began = time.monotonic()
    if cluster.pid is None:
        return
    if not is_ours:
        say("PostgreSQL", f"ran before and goes on; {STOP} ends it", began)
    elif is_used_by_others(cluster):
        say("PostgreSQL", f"goes on, for others use it; {STOP} ends it", began)
    else:
        cluster.stop()
        say("PostgreSQL", "stopped", began)


def is_used_by_others(cluster: Cluster) -> bool:
    """Say whether another process is connected to the server."""
    connections.close_all()
    with suppress(psycopg.Error), cluster.connect(autocommit=True) as look:
        until = time.monotonic() + LEAVING
        while _has_row(look.execute(OTHER_CLIENTS)):
            if time.monotonic() > until:
                return True
            time.sleep(LOOK)
    return False


def _has_row(cursor: psycopg.Cursor[Any]) -> bool:
    return cursor.fetchone() is not None
