"""Sessions of a worker that are cut, and statements that are refused, at a chosen place."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_workflow.db import wire
from tests.workers import database_url

#: A statement that the server ends with an error of the moment: the transaction is aborted by it.
REFUSED = "DO $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{}'; END $$"


class Cutter:
    """Ends a thread's database session right after one of its statements or commits, whose answer it never hears.

    code: with one, a statement is refused with this SQLSTATE instead, before it is executed.
    """

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.left = 0
        self.wanted: list[str] = []
        self.seen = self.was = self.code = ""

    def cut_after_statement(self, number: int) -> None:
        """Cut after so many more statements."""
        self.left, self.was = number, ""

    def cut_after(self, *texts: str, seen: str = "") -> None:
        """Cut after the next statement that contains the first text, then after one with the second.

        seen: a text that comes before.
        """
        self.seen, self.wanted = seen, list(texts)

    def sees(self, what: str, connection: psycopg.Connection) -> None:
        """Count what the server is about to do."""
        if self.code and threading.current_thread() is self.thread and self._is_next(what):
            self.was = what
            connection.execute(REFUSED.format(self.code))

    def saw(self, what: str, connection: psycopg.Connection) -> None:
        """Count what the server has done; the error is the one that psycopg raises on a closed connection."""
        if self.code:
            return
        if threading.current_thread() is not self.thread or not self._is_next(what):
            return
        self.was = what
        with psycopg.connect(database_url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
        connection.execute("SELECT 1")

    def _is_next(self, what: str) -> bool:
        if self.seen:
            self.seen = "" if self.seen in what else self.seen
        elif self.wanted and self.wanted[0] in what:
            del self.wanted[0]
            return True
        self.left -= 1
        return self.left == 0


@pytest.fixture
def cutter(monkeypatch: pytest.MonkeyPatch) -> Cutter:
    """A cutter that sees what all threads of this process send; it cuts one of them."""
    made = Cutter()
    execute, commit = wire.Session.execute, BaseDatabaseWrapper._commit

    def executing(self: Any, connection: Any, sql: str, params: Any) -> Any:
        made.sees(sql, connection)
        result = execute(self, connection, sql, params)
        made.saw(sql, connection)
        return result

    def committing(self: Any) -> None:
        commit(self)
        with self.wrap_database_errors:
            made.saw("COMMIT", self.connection)

    monkeypatch.setattr(wire.Session, "execute", executing)
    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", committing)
    return made
