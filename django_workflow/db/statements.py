"""One statement on its way to the server, and the transaction that it is in."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from psycopg.pq import TransactionStatus

from django_workflow.conf import conf
from django_workflow.db import wire
from django_workflow.db.arrays import array
from django_workflow.db.sessions import connection, is_read_committed, read_committed, set_up_for_worker
from django_workflow.db.wire import Row

#: A set passed column by column, and its rows' numbers.
UNNEST = re.compile(r"unnest\((%s::\w+\[\](?:,\s*%s::\w+\[\])*)\)(\s+WITH ORDINALITY)?")
#: Sets of at most so many rows are passed as values.
FEW = 2


def as_values(sql: str, params: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """Return the statement with its sets written as VALUES where each has but one row or two.

    The planner knows nothing of an array that is still to come: it plans such a statement anew at each
    execution, which takes longer than a single start. With VALUES it keeps one plan.
    """
    sets = _sets(sql)
    if not sets:
        return sql, params
    counts = tuple([len(params[first]) if isinstance(params[first], list) else 0 for first, _ in sets])
    if max(counts) > FEW or not min(counts):
        return sql, params
    values: list[Any] = []
    end = 0
    for (first, width), count in zip(sets, counts, strict=True):
        values += params[end:first]
        end = first + width
        for row in range(count):
            values += [column[row] for column in params[first:end]]
    values += params[end:]
    return _written_as_values(sql, counts), values


@functools.lru_cache(maxsize=500)
def _sets(sql: str) -> list[tuple[int, int]]:
    """Return where each set's parameters begin in the statement, and how many they are."""
    return [(sql.count("%s", 0, found.start()), found[1].count("%s")) for found in UNNEST.finditer(sql)]


@functools.lru_cache(maxsize=500)
def _written_as_values(sql: str, counts: Sequence[int]) -> str:
    left = iter(counts)

    def values(found: re.Match[str]) -> str:
        row = found[1].replace("[]", "")
        rows = [f"({row}, {place}::bigint)" if found[2] else f"({row})" for place in range(1, next(left) + 1)]
        return f"(VALUES {', '.join(rows)})"

    return UNNEST.sub(values, sql)


def _text(value: Any) -> str | None:
    """Return a parameter as the text that PostgreSQL reads; the statement says its type."""
    if isinstance(value, list):
        return array(value)
    if isinstance(value, str):
        return str.__str__(value)
    return None if value is None else str(value)


def run(sql: str, params: Sequence[Any], *, reads: bool) -> list[Row]:
    """Execute one statement now and return its rows, if they are wanted; lists among `params` are passed as arrays."""
    wrapper = connection()
    is_worker = set_up_for_worker(wrapper)
    if not is_worker:
        sql, params = as_values(sql, params)
    values = [value if type(value) is str else _text(value) for value in params]
    wrapper.validate_no_broken_transaction()
    # tests that count queries and tools that trace them see Django's cursors
    is_watched = not is_worker and (wrapper.queries_logged or wrapper.execute_wrappers)
    session = None if is_watched else wire.session(wrapper)
    if session is None:
        with wrapper.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if reads else []
    with wrapper.wrap_database_errors:
        execute = session.execute_by_plan if is_worker else session.execute
        result = execute(wrapper.connection, sql, values)
        return session.rows(result) if reads else []


def run_script(sql: str) -> None:
    """Execute several statements without parameters, as one script."""
    with connection().cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def atomic() -> Iterator[None]:
    """Let a verb do all it does in one transaction: the caller's, or one of its own, which is READ COMMITTED."""
    wrapper = connection()
    if not wrapper.in_atomic_block:
        set_up_for_worker(wrapper)
        if not is_read_committed(wrapper) and wrapper.get_autocommit():
            with read_committed(wrapper), transaction.atomic(using=conf.DATABASE):
                yield
            return
    with transaction.atomic(using=conf.DATABASE):
        yield


def in_transaction() -> bool:
    """Say whether the caller has a transaction open on the workflow database, or commits by hand."""
    return connection().in_atomic_block or commits_by_hand()


def commits_by_hand() -> bool:
    """Say whether the caller commits by hand, of which nobody else learns."""
    wrapper = connection()
    if wrapper.connection is None:
        return not wrapper.settings_dict["AUTOCOMMIT"]
    return not wrapper.get_autocommit()


def has_failed() -> bool:
    """Say whether the caller has a transaction open in which PostgreSQL accepts no more statements."""
    wrapper = connection()
    if not wrapper.in_atomic_block or wrapper.connection is None:
        return False
    return wrapper.needs_rollback or wrapper.connection.info.transaction_status == TransactionStatus.INERROR


def in_test_transaction() -> bool:
    """Say whether everything here is rolled back at the end of a test (`django.test.TestCase`)."""
    blocks = connection().atomic_blocks
    return bool(blocks) and getattr(blocks[0], "_from_testcase", False)
