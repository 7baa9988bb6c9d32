"""Visitors and their sockets."""

from __future__ import annotations

import asyncio
import threading

import pytest

from django_workflow import Flow
from tests.live import visitors
from tests.live.sockets import BOARD, Socket
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
    return visitors.make_user()


@pytest.fixture
def session(viewer):
    """The session of somebody who may look."""
    return visitors.session_of(viewer)


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


async def until(condition):
    """Wait in an event loop until a condition holds."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  conditions of the product, which sets no event for tests
            await asyncio.sleep(0.005)
