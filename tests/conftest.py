"""Fixtures of the behaviour tests: flows under names of their own, and databases as real workers see them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import TransactionTestCase

from django_workflow import Flow, RunResult, testing
from django_workflow.contrib.embedded.launcher import Cluster
from django_workflow.definition.registry import registry
from django_workflow.pytest_plugin import workflow_queues  # noqa: F401  a site gets it from pytest by itself
from django_workflow.statuses import RUN_TERMINAL
from tests.cutter import cutter  # noqa: F401
from tests.emptying import empty_tables
from tests.leftovers import Leftovers
from tests.plans import crowded  # noqa: F401  fixtures for every folder
from tests.workers import command, drain, site, work  # noqa: F401

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Let nothing outlive the tests; parallel processes leave that to the one that started them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Leftovers())


def pytest_unconfigure() -> None:
    """Stop the PostgreSQL that only this process uses (`tests.settings`)."""
    if "PYTEST_XDIST_WORKER" in os.environ and "DATABASE_URL" not in os.environ:
        Cluster(Path(os.environ["DJANGO_WORKFLOW_POSTGRES"])).stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Any:
    """Let what was logged be text that processes can tell each other: some tests raise errors with surrogates."""
    report = yield
    report.sections = [(title, told.encode(errors="replace").decode()) for title, told in report.sections]
    return report


@pytest.fixture(autouse=True, scope="session")
def _tables_are_emptied_quickly() -> None:
    TransactionTestCase._fixture_teardown = empty_tables


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Make names that no other test uses."""
    return lambda name="thing": f"{name}_{next(_numbers)}"


@pytest.fixture(autouse=True)
def _registry_as_before() -> Iterator[None]:
    """Forget what a test registered: a flow that is wrong on purpose must not be published by the next one."""
    tables = [value for value in vars(registry).values() if isinstance(value, dict)]
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)


@pytest.fixture
def names_are_free(_registry_as_before) -> None:
    """Let a test declare flows and handlers that the site has under the same names."""
    registry._places.clear()


@pytest.fixture
def make_flow(unique) -> Callable[..., Flow]:
    """Declare a flow whose slug no other test uses."""
    return lambda name="flow", **options: Flow(unique(name), **options)


@pytest.fixture
def flow(make_flow) -> Flow:
    """An empty flow of this test's own."""
    return make_flow()


def _here(flow: Flow, input: Any = None) -> RunResult:
    return flow.execute(input)


def _queued(flow: Flow, input: Any = None) -> RunResult:
    handle = flow.start(input)
    for _ in range(100):
        testing.run_until_idle()
        if handle.status in RUN_TERMINAL:
            return handle.result()
        testing.advance(timedelta(minutes=10))
    raise AssertionError(f"run {handle.id} is still {handle.status}: {testing.statuses_of(handle)}")


@pytest.fixture(params=[_here, _queued], ids=["here", "queued"])
def run(request, db) -> Callable[..., RunResult]:
    """Run a flow to its end: once in the calling process, once through the queues."""
    return request.param
