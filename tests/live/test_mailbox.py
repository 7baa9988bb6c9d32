"""What is folded, and when it may be taken."""

import asyncio

import pytest

from django_workflow.live.mailbox import RESYNC, STALE, WIDEST_WINDOW, WINDOW, Kind, Mailbox, Told

pytestmark = pytest.mark.asyncio


def changed(*runs):
    return Told(Kind.CHANGED, frozenset(runs))


async def test_first_change_is_there_at_once():
    mailbox = Mailbox(100)
    mailbox.put(changed("a"))
    before = asyncio.get_running_loop().time()
    assert await mailbox.take() == changed("a")
    assert asyncio.get_running_loop().time() - before < WINDOW / 2


async def test_what_follows_is_collected_and_taken_once():
    mailbox = Mailbox(100)
    mailbox.put(changed("a"))
    await mailbox.take()
    started = asyncio.get_running_loop().time()
    for run in "abcb":
        mailbox.put(changed(run))
    assert await mailbox.take() == changed("a", "b", "c")
    assert asyncio.get_running_loop().time() - started > WINDOW / 2


async def test_nothing_is_lost_between_two_takings():
    mailbox = Mailbox(10_000)
    taken = set()

    async def put():
        for number in range(500):
            mailbox.put(changed(str(number)))
            if number % 25 == 0:
                await asyncio.sleep(0.002)

    putting = asyncio.create_task(put())
    async with asyncio.timeout(10):
        while len(taken) < 500:
            taken |= (await mailbox.take()).runs
    await putting


async def test_more_than_the_limit_means_everything():
    mailbox = Mailbox(2)
    mailbox.put(changed("a", "b"))
    mailbox.put(changed("c"))
    mailbox.put(changed("d"))
    assert await mailbox.take() == RESYNC


async def test_last_word_counts():
    mailbox = Mailbox(100)
    mailbox.put(changed("a"))
    mailbox.put(STALE)
    mailbox.put(RESYNC)
    mailbox.put(changed("b"))
    assert await mailbox.take() == RESYNC
    mailbox.put(RESYNC)
    mailbox.put(STALE)
    assert await mailbox.take() == STALE


async def test_window_widens_while_changes_keep_coming_and_narrows_after():
    mailbox = Mailbox(100)
    windows = []
    for _ in range(6):
        mailbox.put(changed("a"))
        await mailbox.take()
        windows.append(mailbox._window)
    assert windows[0] == WINDOW
    assert windows[-1] == WIDEST_WINDOW
    assert windows == sorted(windows)
    mailbox._opens_at = 0.0  # a long time later
    mailbox.put(changed("a"))
    await mailbox.take()
    assert mailbox._window == WINDOW
