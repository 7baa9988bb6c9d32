"""A second site in the test's database: its tables stand in a schema of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.db import connection

from django_workflow import db, queue
from django_workflow.engine.stored import versions


@contextmanager
def at_schema(schema: str) -> Iterator[None]:
    """Be the site whose tables stand in a schema: connections of this process look there and nowhere else."""
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    db.close()
    versions.published.forget()
    options["options"] = f"-c search_path={schema}"
    try:
        yield
    finally:
        db.close()
        versions.published.forget()
        options.clear()
        options.update(before)


@contextmanager
def second_site(schema: str, *others: str) -> Iterator[str]:
    """Make a site with empty tables in a schema, and with others that its handlers need; it goes with its queues."""
    tables = [*others, *(model._meta.db_table for model in apps.get_app_config("django_workflow").get_models())]
    made = [f"CREATE TABLE {schema}.{name} (LIKE public.{name} INCLUDING ALL)" for name in dict.fromkeys(tables)]
    db.run_script("; ".join([f"CREATE SCHEMA {schema}", *made]))
    try:
        yield schema
    finally:
        with at_schema(schema):
            names = [queue._name(name) for name in queue.existing()]
        for name in names:
            db.rows("SELECT pgmq.drop_queue(%s)", [name])
        db.run_script(f"DROP SCHEMA {schema} CASCADE")
