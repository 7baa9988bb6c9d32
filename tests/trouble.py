"""Errors of PostgreSQL that say nothing about the data, raised by the server for certain writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django_workflow import db

#: Cancelled or too slow, a lock not got, a deadlock, no memory, an error of the system, an internal one.
PASSING = ["57014", "55P03", "40P01", "53200", "58030", "XX000"]
#: What another release has changed: a column, the type of a prepared statement's result.
UNFIT = ["42703", "0A000"]

MAKE = """
    CREATE SEQUENCE trouble_count;
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('trouble_count') <= {times} THEN RAISE EXCEPTION 'trouble' USING ERRCODE = '{code}'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION trouble()
"""
END = "DROP FUNCTION IF EXISTS trouble CASCADE; DROP SEQUENCE IF EXISTS trouble_count"


@contextmanager
def trouble(code: str, when: str, *, table: str = "django_workflow_task", times: int = 1) -> Iterator[None]:
    """Let the server raise an error of this SQLSTATE for the first `times` rows that meet a condition."""
    db.run_script(MAKE.format(code=code, when=when, table=table, times=times))
    try:
        yield
    finally:
        db.run_script(END)
