"""What happens to a hub whose event loop ends."""

import asyncio

from django_workflow.live import hub as hubs
from tests.live.conftest import listening_threads


async def begin():
    return await hubs.hub()._ready.wait()


def test_bridge_ends_with_its_event_loop(transactional_db):
    async def begin_and_leave():
        await begin()
        return hubs.hub()

    hub = asyncio.run(begin_and_leave())
    assert hub._listener._is_stopping
    assert not hubs._hubs


def test_thread_ends_with_an_event_loop_that_was_closed_under_it(transactional_db):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    (task,) = asyncio.all_tasks(loop)
    task._log_destroy_pending = False
    assert len(listening_threads()) == 1
    loop.close()  # without cancelling its tasks; the fixture sees that the thread ends
