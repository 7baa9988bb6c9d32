"""What a database error means for the engine."""

from __future__ import annotations

import traceback

import psycopg
from django.db.utils import DatabaseError, InterfaceError, OperationalError

from django_workflow.exceptions import RunBusy

#: SQLSTATEs, or beginnings of them, after which the session is gone or may not write: lost connections, a transaction
#: that idled or took too long, refused logins, a server that is read-only for a failover, or shuts down.
CONNECTION_STATES = ("08", "25006", "25P03", "25P04", "28", "3D", "57P")
#: Those that are of the moment, not of the data: a statement in a transaction that had failed, a prepared statement
#: that is gone, deadlocks and serialisation failures, lack of resources, a lock that was not to be had in time, an
#: object in use, a cancelled statement or one that took too long, errors of the system, of its settings, and internal.
PASSING_STATES = ("25P02", "26", "40", "53", "55", "57014", "58", "72", "F0", "XX")
LOCK_NOT_AVAILABLE = "55P03"
#: A table, column, function or right that this code expects is not there, or another type than when the statement was
#: prepared: another release is being deployed.
UNFIT_STATES = ("0A", "3F", "42")


def is_retryable(error: BaseException) -> bool:
    """Say whether the same statements may be tried again, for `error` says nothing about the data."""
    if is_of_connection(error) or isinstance(error, MemoryError | RunBusy):
        return True
    return (sqlstate(error) or "").startswith(PASSING_STATES)


def is_of_connection(error: BaseException) -> bool:
    """Say whether `error` ended the session, or is one that every statement of it would meet."""
    if isinstance(error, InterfaceError | psycopg.InterfaceError):
        return True
    state = sqlstate(error)
    if state is None:
        # psycopg reports a broken connection without a state
        return isinstance(error, OperationalError | psycopg.OperationalError)
    return state.startswith(CONNECTION_STATES)


def is_lock_timeout(error: BaseException) -> bool:
    """Say whether `error` means that a lock was not available in time."""
    return sqlstate(error) == LOCK_NOT_AVAILABLE


def is_of_schema(error: BaseException) -> bool:
    """Say whether `error` is of the tables as they are now, not of the data."""
    return (sqlstate(error) or "").startswith(UNFIT_STATES)


def is_for_good(error: BaseException) -> bool:
    """Say whether what was refused once will always be: not where another try or another release may do."""
    return not (is_retryable(error) or is_of_schema(error))


def for_logs(error: BaseException) -> str:
    """Return the class, the code and the place of an error: its text may hold a part of the data."""
    state = sqlstate(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{f' ({state})' if state else ''}{place}"


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code for a database error, where it gave one."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return state


#: A relation is not there; a value must not be null; a value must be unique.
UNDEFINED_TABLE, NOT_NULL, UNIQUE = "42P01", "23502", "23505"


def is_of_memory(error: BaseException) -> bool:
    """Say whether a queue or a version that this process remembers is gone: the database was restored or emptied."""
    state = sqlstate(error)
    return state == UNDEFINED_TABLE or (state == NOT_NULL and _diagnosis(error, "column_name") == "version_id")


def table_of_taken_id(error: BaseException) -> str | None:
    """Return the table in which a row was refused because its id is taken."""
    table = _diagnosis(error, "table_name")
    if sqlstate(error) == UNIQUE and table and _diagnosis(error, "constraint_name") == f"{table}_pkey":
        return table if table.startswith("django_workflow_") and table.isidentifier() else None
    return None


def _diagnosis(error: BaseException, field: str) -> str | None:
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    found: str | None = getattr(getattr(cause, "diag", None), field, None)
    return found
