"""What is folded, and when it may be taken."""

import asyncio

import pytest

from django_workflow.live.inbox import RESYNC, STALE, WIDEST_WINDOW, WINDOW, Inbox, Kind, Notice

pytestmark = pytest.mark.asyncio


def changed(*runs):
    return Notice(Kind.CHANGED, frozenset(runs))


async def test_first_change_is_there_at_once():
    inbox = Inbox(100)
    inbox.put(changed("a"))
    before = asyncio.get_running_loop().time()
    assert await inbox.take() == changed("a")
    assert asyncio.get_running_loop().time() - before < WINDOW / 2


async def test_what_follows_is_collected_and_taken_once():
    inbox = Inbox(100)
    inbox.put(changed("a"))
    await inbox.take()
    started = asyncio.get_running_loop().time()
    for run in "abcb":
        inbox.put(changed(run))
    assert await inbox.take() == changed("a", "b", "c")
    assert asyncio.get_running_loop().time() - started > WINDOW / 2


async def test_nothing_is_lost_between_two_takings():
    inbox = Inbox(10_000)
    taken = set()

    async def put():
        for number in range(500):
            inbox.put(changed(str(number)))
            if number % 25 == 0:
                await asyncio.sleep(0.002)

    putting = asyncio.create_task(put())
    async with asyncio.timeout(10):
        while len(taken) < 500:
            taken |= (await inbox.take()).runs
    await putting


async def test_more_than_the_limit_means_everything():
    inbox = Inbox(2)
    inbox.put(changed("a", "b"))
    inbox.put(changed("c"))
    inbox.put(changed("d"))
    assert await inbox.take() == RESYNC


async def test_last_word_counts():
    inbox = Inbox(100)
    inbox.put(changed("a"))
    inbox.put(STALE)
    inbox.put(RESYNC)
    inbox.put(changed("b"))
    assert await inbox.take() == RESYNC
    inbox.put(RESYNC)
    inbox.put(STALE)
    assert await inbox.take() == STALE


async def test_window_widens_while_changes_keep_coming_and_narrows_after():
    inbox = Inbox(100)
    windows = []
    for _ in range(6):
        inbox.put(changed("a"))
        await inbox.take()
        windows.append(inbox._window)
    assert windows[0] == WINDOW
    assert windows[-1] == WIDEST_WINDOW
    assert windows == sorted(windows)
    inbox._opens_at = 0.0  # a long time later
    inbox.put(changed("a"))
    await inbox.take()
    assert inbox._window == WINDOW
