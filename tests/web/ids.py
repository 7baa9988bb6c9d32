"""Ids as long as those of a busy site."""

from __future__ import annotations

from django.db import connection

RAISE = "SELECT setval(sequence, greatest(nextval(sequence), %s)) FROM pg_get_serial_sequence(%s, 'id') AS sequence"


def raise_ids(table: str, least: int) -> None:
    """Let a table's next ids be above `least`, never below those that were given out: some are still unused."""
    with connection.cursor() as cursor:
        cursor.execute(RAISE, [least, f"django_workflow_{table}"])
