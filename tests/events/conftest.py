"""Fixtures of what is followed: a committed database, sessions that send, and no connection left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from django_workflow import Following, db, testing
from tests.races.sessions import Session, sessions
from tests.waiting import eventually

OTHERS = """
    SELECT pid, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "events" in item.path.parts and "engine" not in item.path.parts:
            item.add_marker(pytest.mark.django_db(transaction=True, available_apps=["django_workflow"]))


@pytest.fixture(autouse=True)
def committed(transactional_db) -> Iterator[None]:
    """A committed database without messages; at the end no session but the test's own may be left."""
    testing.clean_queues()
    yield
    testing.clean_queues()
    eventually(lambda: not db.rows(OTHERS), "no session is left", seconds=5)


@pytest.fixture
def session(committed) -> Iterator[Callable[[], Session]]:
    """Make database sessions."""
    with sessions() as make:
        yield make


def backend(following: Following[Any]) -> int | None:
    """Return the process id of a follower's connection, None while it has none."""
    listener = following._listener
    connection = listener._wrapper.connection if listener is not None else None
    return connection.info.backend_pid if connection is not None else None


def cut(following: Following[Any]) -> None:
    """Let the server end a follower's connection, and wait until it has."""
    pid = eventually(lambda: backend(following), "it is connected")
    db.rows("SELECT pg_terminate_backend(%s::int)", [pid])
    eventually(lambda: not db.rows("SELECT 1 FROM pg_stat_activity WHERE pid = %s::int", [pid]), "it is gone")


class Collector:
    """Iterates over what is followed, in a thread of its own."""

    def __init__(self, following: Following[Any]) -> None:
        self.following = following
        self.found: list[Any] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="collector")
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self.following:
                self.found.append(item)
        except BaseException as error:
            self.error = error

    def has_ended(self) -> bool:
        """Say whether the iteration is over."""
        return not self._thread.is_alive()

    def end(self) -> list[Any]:
        """Close what is followed and return all that was found."""
        self.following.close()
        self._thread.join(5.0)
        assert self.has_ended(), "the iteration did not end"
        if self.error is not None:
            raise self.error
        return self.found


@pytest.fixture
def collect() -> Iterator[Callable[[Following[Any]], Collector]]:
    """Collect in the background what is followed."""
    started: list[Collector] = []

    def start(following: Following[Any]) -> Collector:
        started.append(Collector(following))
        return started[-1]

    yield start
    for collector in started:
        collector.end()
