"""Who is let in, and what a page may say."""

import json

import pytest
from channels.db import database_sync_to_async

from django_workflow.models import Event, Run
from tests.live.sockets import BOARD, Socket, path_of, tell
from tests.live.viewers import make_user, session_of

pytestmark = pytest.mark.asyncio
NOBODY = "01990000-0000-7000-8000-000000000000"
FORGED = {
    "a verb": json.dumps({"type": "cancel", "run": NOBODY}),
    "more than asked": json.dumps({"type": "resync", "run": NOBODY}),
    "a handler's name": json.dumps({"type": "websocket.disconnect"}),
    "not an object": json.dumps(["resync"]),
    "a word": json.dumps("resync"),
    "not JSON": "{type: resync}",
    "nothing": " ",
    "too deep": "[" * 190,
    "too large": json.dumps({"type": "resync", "x": "x" * 1_000_000}),
}


@database_sync_to_async
def everything():
    """What a forged message might have changed."""
    return list(Run.objects.values_list("id", "status")), Event.objects.count()


async def refused(socket):
    """Return the code of a socket that is closed at once, and check what it said."""
    assert await socket.open()
    heard, code = await socket.ending()
    assert heard == [json.dumps({"type": "refused"}, separators=(",", ":"))]
    await socket.close()
    return code


async def test_changes_reach_the_board_and_the_page_of_the_run(session, run):
    async with Socket(BOARD, session) as board, Socket(path_of(run), session) as page:
        await tell(run.id)
        assert await board.hear() == {"type": "changed", "version": 1, "runs": [str(run.id)]}
        assert await page.hear() == {"type": "changed", "version": 1, "run": str(run.id)}


async def test_a_pause_is_told_once(session, run):
    async with Socket(path_of(run), session) as page:
        await database_sync_to_async(run.pause)(reason="to see it")
        assert (await page.hear())["run"] == str(run.id)
        assert await page.is_silent()


async def test_a_start_reaches_the_board_without_its_id(session, flow, workflow_queues):
    flow.step(lambda: None, name="only")
    async with Socket(BOARD, session) as board:
        await database_sync_to_async(flow.start)()
        assert await board.hear() == {"type": "changed", "version": 1, "runs": []}


async def test_page_of_a_run_hears_nothing_of_others(session, run):
    async with Socket(path_of(run), session) as page:
        await tell(NOBODY)
        assert await page.is_silent()


async def test_what_is_no_run_id_is_told_to_nobody(session):
    async with Socket(BOARD, session) as board:
        await tell("<script>", "not-a-run")
        assert await board.is_silent()


async def test_resync_is_answered_by_resync(session):
    async with Socket(BOARD, session) as board:
        await board.say(json.dumps({"type": "resync"}))
        assert await board.hear() == {"type": "resync"}


@pytest.mark.parametrize("path", [BOARD, path_of(NOBODY)])
async def test_anonymous_is_refused(path, transactional_db):
    assert await refused(Socket(path)) == 4403


async def test_forged_session_is_refused(transactional_db):
    assert await refused(Socket(BOARD, "0123456789abcdef0123456789abcdef")) == 4403


async def test_user_without_permission_is_refused(transactional_db, run):
    session = await database_sync_to_async(lambda: session_of(make_user("stranger", ())))()
    assert await refused(Socket(BOARD, session)) == 4403
    assert await refused(Socket(path_of(run), session)) == 4403
    assert await refused(Socket(path_of(NOBODY), session)) == 4403


async def test_superuser_is_let_in(transactional_db, run):
    session = await database_sync_to_async(lambda: session_of(make_user("root", is_superuser=True)))()
    async with Socket(BOARD, session), Socket(path_of(run), session):
        pass


async def test_unknown_run_is_unknown(session):
    assert await refused(Socket(path_of(NOBODY), session)) == 4404


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", None])
async def test_pages_of_other_sites_are_not_let_in(session, origin):
    socket = Socket(BOARD, session, origin=origin)
    assert not await socket.open()


async def test_other_paths_are_not_let_in(session):
    assert not await Socket("/ws/workflow/", session).open()
    assert not await Socket("/ws/workflow/runs/1/", session).open()


@pytest.mark.parametrize("text", FORGED.values(), ids=FORGED)
async def test_forged_message_is_refused_and_changes_nothing(session, run, text):
    before = await everything()
    socket = Socket(path_of(run), session)
    assert await socket.open()
    await socket.hear()
    await socket.say(text)
    assert (await socket.ending())[1] == 4403
    await socket.close()
    assert await everything() == before


async def test_bytes_are_refused(session):
    socket = Socket(BOARD, session)
    assert await socket.open()
    await socket.hear()
    await socket.say(data=json.dumps({"type": "resync"}).encode())
    assert (await socket.ending())[1] == 4403
    await socket.close()


async def test_operator_controls_nothing_through_a_socket(run):
    """Not for want of permissions: sockets have no verbs."""
    session = await database_sync_to_async(lambda: session_of(make_user("root", is_superuser=True)))()
    before = await everything()
    for verb in ("pause", "resume", "cancel", "retry", "signal", "approve"):
        socket = Socket(path_of(run), session)
        assert await socket.open()
        await socket.hear()
        await socket.say(json.dumps({"type": verb, "run": str(run.id)}))
        assert (await socket.ending())[1] == 4403
        await socket.close()
    assert await everything() == before


async def test_page_that_asks_without_end_is_refused(session):
    socket = Socket(BOARD, session)
    assert await socket.open()
    for _ in range(21):
        await socket.say(json.dumps({"type": "resync"}))
    assert (await socket.ending())[1] == 4403
    await socket.close()


async def test_first_message_may_come_before_hello(session):
    socket = Socket(BOARD, session)
    assert await socket.open()
    await socket.say(json.dumps({"type": "resync"}))
    assert [(await socket.hear())["type"] for _ in range(2)] == ["hello", "resync"]
    await socket.close()
