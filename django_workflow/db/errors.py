"""What a database error means for the engine."""

from __future__ import annotations

from django.db.utils import DatabaseError, InterfaceError, OperationalError

#: SQLSTATEs, or beginnings of them, after which the same statements may simply be tried again: lost connections,
#: a server that is read-only for a failover, deadlocks and serialisation failures, lack of resources, shutdowns.
RETRYABLE_STATES = ("08", "25006", "40", "53", "57P")
LOCK_NOT_AVAILABLE = "55P03"
#: A table, column, function or right that this code expects is not there: another release is being deployed.
UNFIT_STATES = "42"


def is_retryable(error: BaseException) -> bool:
    """Say whether `error` is of the connection, a deadlock or a serialisation, not of the data."""
    if isinstance(error, InterfaceError):
        return True
    state = sqlstate(error)
    if state is None:
        # psycopg reports a broken connection without a state
        return isinstance(error, OperationalError)
    return state.startswith(RETRYABLE_STATES)


def is_lock_timeout(error: BaseException) -> bool:
    """Say whether `error` means that a lock was not available in time."""
    return sqlstate(error) == LOCK_NOT_AVAILABLE


def is_of_schema(error: BaseException) -> bool:
    """Say whether `error` is of the tables as they are now, not of the data."""
    return (sqlstate(error) or "").startswith(UNFIT_STATES)


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code for a database error, where it gave one."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return state
