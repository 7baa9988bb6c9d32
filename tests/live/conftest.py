"""Viewers and their sockets."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading

import pytest

from django_workflow import Flow
from tests.live import viewers
from tests.live.sockets import BOARD, Socket
from tests.live.stand import Stand
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _threads_end():
    """Let no listening thread outlive the event loop of its test."""
    yield
    eventually(lambda: not listening_threads(), "the listening threads end")


def listening_threads():
    return [thread for thread in threading.enumerate() if thread.name == "django_workflow-live"]


@pytest.fixture
def viewer(transactional_db):
    """Somebody who may look."""
    return viewers.make_user()


@pytest.fixture
def session(viewer):
    """The session of somebody who may look."""
    return viewers.session_of(viewer)


@pytest.fixture
def run(make_flow, transactional_db, workflow_queues):
    """A run that waits for a worker."""
    flow: Flow = make_flow("watched")
    flow.step(lambda: None, name="only")
    return flow.start()


@pytest.fixture
async def board(session):
    """The socket of a viewer's board."""
    async with Socket(BOARD, session) as socket:
        yield socket


@pytest.fixture(scope="module")
def browser():
    """The browser of this machine; without one the tests are skipped, but not in CI."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield opened
        opened.close()


@pytest.fixture
def stand(browser):
    """A page that may have no complaint at the end."""
    context = browser.new_context(viewport={"width": 800, "height": 600})
    stand = Stand(context.new_page())
    yield stand
    problems = stand.problems
    context.close()
    assert problems == []


async def until(condition):
    """Wait in an event loop until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  conditions of the product, which sets no event for tests
            await asyncio.sleep(0.005)
