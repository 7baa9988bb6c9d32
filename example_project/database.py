"""Bringing the example's database up to date, whoever else does so at the same time."""

from __future__ import annotations

from django.core.management import call_command
from django.db import connection

#: Any number that nobody else uses for an advisory lock in this database.
MIGRATING = 7_305_129_481


def prepare() -> None:
    """Apply what is missing of the migrations; a second process that does so waits for the first."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATING])
    try:
        call_command("migrate", interactive=False, verbosity=0)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATING])
