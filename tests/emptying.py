"""Emptying the database after a transactional test, quickly.

Django's flush truncates every table, which costs a file for each index, and makes all permissions and content types
anew: more than most tests take. Those stay here, and what tests have made is deleted, for it is little.
"""

from __future__ import annotations

from django.db import connections, transaction
from django.test import TransactionTestCase

from django_workflow.engine.stored.versions import publish_declared, published

STAYING = {"django_content_type", "auth_permission", "django_migrations"}
#: Tables of more than a megabyte.
LARGE = "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND pg_relation_size(oid) > 1048576"


def empty_tables(case: TransactionTestCase) -> None:
    """Delete what a test has committed; stands in for `TransactionTestCase._fixture_teardown`."""
    for alias in case._databases_names(include_mirrors=False):
        found = connections[alias].introspection.django_table_names(only_existing=True, include_views=False)
        tables = sorted(set(found) - STAYING)
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = 'replica'")  # no triggers, no references
            cursor.execute(LARGE, [tables])
            large = {name for (name,) in cursor.fetchall()}
            ways = ["TRUNCATE {} CASCADE" if name in large else "DELETE FROM {}" for name in tables]
            cursor.execute("; ".join(way.format(name) for way, name in zip(ways, tables, strict=True)))
    published.forget()
    publish_declared()  # as after a flush
