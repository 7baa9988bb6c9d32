"""The hub of one process: bursts, connections that break, and its life."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from channels.db import database_sync_to_async
from django.db import connections

from django_workflow import db
from django_workflow.live import hub as hubs
from django_workflow.live import listener
from django_workflow.models import Run
from tests.live.conftest import listening_threads, until
from tests.live.sockets import BOARD, Socket, path_of, tell
from tests.waiting import eventually

pytestmark = pytest.mark.asyncio
BURST = 500
LISTENERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = current_database()"


@pytest.fixture(autouse=True)
def _no_bridge_of_another_test():
    hubs._hubs.clear()


@database_sync_to_async
def change_often(run_id):
    """Change a run many times, each with a notification of its own."""
    for number in range(BURST):
        Run.objects.filter(pk=run_id).update(title=f"change {number}")
        db.notify([(db.RUN_CHANNEL, str(run_id))])


@database_sync_to_async
def title_of(run_id):
    return Run.objects.values_list("title", flat=True).get(pk=run_id)


async def test_page_that_reads_at_each_message_ends_in_the_true_state(session, run):
    async with Socket(path_of(run), session) as page, Socket(BOARD, session) as board:
        changing = asyncio.create_task(change_often(run.id))
        seen, heard = None, 0
        while seen != f"change {BURST - 1}":
            assert (await page.hear())["type"] == "changed"
            seen, heard = await title_of(run.id), heard + 1
        await changing
        assert heard < BURST / 5, "they are collected"
        assert (await board.hear())["runs"] == [str(run.id)]


async def test_burst_of_many_runs_ends_with_all_ids_or_a_resync(session):
    ids = {f"01990000-0000-7000-8000-{number:012x}" for number in range(BURST)}
    async with Socket(BOARD, session) as board:
        await tell(*ids)
        heard = await board.hear_until(lambda message: message["type"] == "resync")
        assert all(len(message["runs"]) <= 100 for message in heard[:-1])


async def test_burst_of_few_runs_ends_with_all_ids(session):
    ids = [f"01990000-0000-7000-8000-{number:012x}" for number in range(90)]
    async with Socket(BOARD, session) as board:
        for start in range(0, 90, 3):
            await tell(*ids[start : start + 3])
        told = set()
        while told != set(ids):
            message = await board.hear()
            assert message["type"] == "changed"
            told |= set(message["runs"])


@database_sync_to_async
def end_listening_connections():
    """Let the server end the connections that listen; return how many there were."""
    return len(db.rows(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) AS l"))


async def test_broken_connection_is_told_and_made_anew(session, run):
    async with Socket(BOARD, session) as board, Socket(path_of(run), session) as page:
        assert await end_listening_connections() == 1
        for socket in (board, page):
            assert await socket.hear() == {"type": "stale"}
            assert await socket.hear() == {"type": "resync"}
        await tell(run.id)
        assert (await board.hear())["runs"] == [str(run.id)]
        assert (await page.hear())["run"] == str(run.id)


async def test_page_that_opens_or_asks_while_nobody_listens_is_told_so(session, run, monkeypatch):
    async with Socket(BOARD, session) as board:
        monkeypatch.setattr(listener, "RETRIES", (3600.0, 3600.0))
        (thread,) = [b._listener for b in hubs._hubs.values()]
        thread._retry = 3600.0
        assert await end_listening_connections() == 1
        assert await board.hear() == {"type": "stale"}
        async with Socket(path_of(run), session) as page:
            assert await page.hear() == {"type": "stale"}
        await board.say('{"type": "resync"}')
        assert await board.hear() == {"type": "stale"}, "the database answers, but changes would not be heard"


async def test_one_connection_listens_for_all_sockets_of_a_process(session, run):
    async with Socket(BOARD, session), Socket(BOARD, session), Socket(path_of(run), session):
        assert len(listening_threads()) == 1
        assert len(await database_sync_to_async(db.rows)(LISTENERS)) == 1


async def test_pages_of_a_crowd_are_told_to_load_less_often(session, run):
    """One page loads itself as often as it likes, within its own bounds."""
    async with Socket(path_of(run), session) as page, AsyncExitStack() as others:
        await tell(run.id)
        assert "pause" not in await page.hear()
        for _ in range(19):
            await others.enter_async_context(Socket(BOARD, session))
        await tell(run.id)
        assert (await page.hear())["pause"] == 20.0


async def test_bridge_ends_when_the_last_socket_has_gone_for_a_while(session, monkeypatch):
    monkeypatch.setattr(hubs, "LINGER", 0.05)
    async with Socket(BOARD, session):
        (hub,) = hubs._hubs.values()
        async with Socket(BOARD, session):
            pass
        assert hub._listener.is_alive
    await until(lambda: not hub._listener.is_alive)
    assert not hubs._hubs
    await database_sync_to_async(eventually)(lambda: not db.rows(LISTENERS), "its connection has ended")
    async with Socket(BOARD, session) as board:  # and begins anew
        await tell("01990000-0000-7000-8000-000000000000")
        assert (await board.hear())["type"] == "changed"


async def test_bridge_stays_for_a_page_that_is_reloaded(session):
    async with Socket(BOARD, session):
        (hub,) = hubs._hubs.values()
    async with Socket(BOARD, session):
        assert list(hubs._hubs.values()) == [hub]


async def test_nothing_stays_in_a_bridge_that_sockets_have_left(session, run):
    async with Socket(BOARD, session), Socket(path_of(run), session):
        (hub,) = hubs._hubs.values()
    assert (hub._socket_count, hub._boards, hub._watched) == (0, set(), {})


async def test_cancelled_socket_leaves(session):
    socket = Socket(BOARD, session)
    assert await socket.open()
    await socket.hear()
    (hub,) = hubs._hubs.values()
    socket.communicator.future.cancel()
    await until(lambda: not hub._socket_count)
    await database_sync_to_async(connections.close_all)()  # which communicators keep open until a socket disconnects
