"""A real browser, a real site, real workers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Browser, sync_playwright

from example_project.serve.users import OPERATOR, VIEWER, make_users
from tests.browser import chromium
from tests.browser.house import House, house
from tests.browser.visitor import Visitor
from tests.workers import database_url


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser of this machine; without one the tests are skipped, but not in CI."""
    if chromium.path() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no Chromium on this machine")
    # Playwright's synchronous calls keep a loop in this thread; what Django does here waits for nobody.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        opened = chromium.launch(playwright)
        yield opened
        opened.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def passwords(workflow_queues: None) -> dict[str, str]:
    """The passwords of the operator and the viewer."""
    return make_users()


@pytest.fixture
def place(passwords: dict[str, str], tmp_path: Path) -> Iterator[House]:
    """The site, on the test's database."""
    folder = tmp_path / "gates"
    folder.mkdir()
    with house(database_url(), folder) as made:
        yield made


@pytest.fixture
def visit(browser: Browser, place: House) -> Iterator[Callable[..., Visitor]]:
    """Let somebody come with a browser; none may have a complaint at the end."""
    came: list[Visitor] = []

    def come(name: str | None = None, **options: object) -> Visitor:
        usual = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
        context = browser.new_context(**{**usual, **options})
        if name is not None:
            context.add_cookies([{"name": "sessionid", "value": session_of(name), "url": place.address}])
        came.append(Visitor(context, place.address))
        return came[-1]

    yield come
    complaints = [line for visitor in came for line in visitor.complaints()]
    for visitor in came:
        visitor.context.close()
    assert complaints == []


@pytest.fixture
def operator(visit: Callable[..., Visitor]) -> Visitor:
    """One who acts, logged in."""
    return visit(OPERATOR)


@pytest.fixture
def viewer(visit: Callable[..., Visitor]) -> Visitor:
    """One who looks, logged in."""
    return visit(VIEWER)


def session_of(name: str) -> str:
    """Log a user in and return the session's key."""
    user = User.objects.get(username=name)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)
