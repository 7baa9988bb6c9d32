"""Fixtures of the races, and `--break-guards`: each race once more without what guards it, expected to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from django_workflow import db, testing
from tests.races import sessions as sessions_module
from tests.races.effects import CREATE_EFFECTS, DROP_EFFECTS, Effects
from tests.races.guards import GUARDS
from tests.races.sessions import Session
from tests.races.workers import Workers, database_url

_seen: list[tuple[str, str, str]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--break-guards",
        action="store_true",
        help="Run each race without each of its guards; it is expected to fail, and what it said is listed.",
    )


def _breaks(config: pytest.Config) -> bool:
    return bool(config.getoption("--break-guards", default=False))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "guard(*names): what keeps this race from going wrong; see tests/races/guards.py"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("guard")
    if marker is None or not _breaks(metafunc.config):
        return
    params = [
        pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=f"without: {GUARDS[name].what}"))
        for name in marker.args
    ]
    metafunc.parametrize("broken_guard", params, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if "races" in item.path.parts]
    unguarded = [item.nodeid for item in here if item.get_closest_marker("guard") is None]
    if unguarded:
        raise pytest.UsageError(f"races without a guard: {', '.join(unguarded)}")
    for item in here:
        # emptying the tables of all apps would take longer than most races
        item.add_marker(pytest.mark.django_db(transaction=True, available_apps=["django_workflow"]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if call.when == "setup" and hasattr(report, "wasxfail"):
        del report.wasxfail  # a guard that cannot be removed has not been shown to be one
        report.outcome = "failed"
    if call.when == "call" and hasattr(item, "callspec") and "broken_guard" in item.callspec.params:
        error = str(call.excinfo.value).strip() or call.excinfo.typename if call.excinfo else "NOTHING: it passed"
        _seen.append((item.originalname, item.callspec.params["broken_guard"], " ".join(error.split())[:160]))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _seen:
        terminalreporter.section("what was seen without the guard")
        for test, guard, error in _seen:
            terminalreporter.write_line(f"| {test} | {guard} | {error} |")


@pytest.fixture
def broken_guard(request, monkeypatch) -> str | None:
    """Remove the named guard, with --break-guards."""
    name: str | None = getattr(request, "param", None)
    if name is not None:
        monkeypatch.setattr(sessions_module, "SECONDS", 3.0)
        monkeypatch.setenv("BREAK_GUARD", name)
        GUARDS[name].remove(monkeypatch.setattr)
    return name


@pytest.fixture(autouse=True)
def _arena(transactional_db, _registry_as_before) -> Iterator[None]:
    """A committed database without runs and messages."""
    testing.clean_queues()
    db.execute(CREATE_EFFECTS)
    yield
    testing.clean_queues()
    db.execute(DROP_EFFECTS)


@pytest.fixture
def session(_arena, broken_guard) -> Iterator[Callable[[], Session]]:
    """Make database sessions."""
    with sessions_module.sessions() as make:
        yield make


@pytest.fixture
def effects(_arena) -> Effects:
    """What handlers did, recorded in a table of the site's."""
    return Effects(db.rows)


@pytest.fixture
def workers(_arena, broken_guard) -> Iterator[Workers]:
    """Start workers, as threads of this process or as processes of their own; all of them end."""
    started = Workers(database_url(connections["default"].settings_dict))
    yield started
    started.end()


@pytest.fixture(autouse=True)
def _guard_is_removed_first(broken_guard) -> None:
    """Every test is run under its guard, or without it."""
