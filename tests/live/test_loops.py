"""What happens to a bridge whose event loop ends."""

import asyncio

from django_workflow.live import bridge as bridges
from tests.live.conftest import listening_threads


async def begin():
    return await bridges.bridge()._ready.wait()


def test_bridge_ends_with_its_event_loop(transactional_db):
    async def begin_and_leave():
        await begin()
        return bridges.bridge()

    bridge = asyncio.run(begin_and_leave())
    assert bridge._listening._is_stopping
    assert not bridges._bridges


def test_thread_ends_with_an_event_loop_that_was_closed_under_it(transactional_db):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    (task,) = asyncio.all_tasks(loop)
    task._log_destroy_pending = False
    assert len(listening_threads()) == 1
    loop.close()  # without cancelling its tasks; the fixture sees that the thread ends
