"""Who hears what: permissions at the beginning, for every message, and meanwhile."""

import json

import pytest
from channels.db import database_sync_to_async

from django_workflow.live import consumers, visitors
from django_workflow.models import Event, Run
from tests.live.sockets import BOARD, Socket, path_of, tell
from tests.live.visitors import make_user, session_of

pytestmark = pytest.mark.asyncio
NOBODY = "01990000-0000-7000-8000-000000000000"


async def test_changes_reach_the_board_and_the_page_of_the_run(session, run):
    async with Socket(BOARD, session) as board, Socket(path_of(run), session) as page:
        await tell(run.id)
        assert await board.hear() == {"type": "changed", "version": 1, "runs": [str(run.id)]}
        assert await page.hear() == {"type": "changed", "version": 1, "run": str(run.id)}


async def test_a_real_change_is_told_once(session, run):
    async with Socket(path_of(run), session) as page:
        await database_sync_to_async(run.pause)(reason="to see it")
        assert (await page.hear())["run"] == str(run.id)
        assert await page.is_silent()


async def test_page_of_a_run_hears_nothing_of_others(session, run):
    async with Socket(path_of(run), session) as page:
        await tell(NOBODY)
        assert await page.is_silent()
