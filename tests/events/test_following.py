"""Following: through broken connections, from threads and coroutines, until somebody ends it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import signal
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, ProgrammingError, connections

from django_workflow import asend_with_notify, db, follow, listen, notify_only, send_with_notify, unlisten
from django_workflow.events import following
from tests.events.conftest import OTHERS, backend, cut
from tests.waiting import eventually


def texts(received):
    return [item.message for item in received]


def test_a_listener_whose_connection_breaks_catches_up(caplog):
    caplog.set_level(logging.WARNING, "django_workflow.events")
    with listen("news", timeout=1) as listener:
        send_with_notify("news", 1)
        assert next(listener).message == 1
        cut(listener)
        send_with_notify("news", 2)
        assert next(listener).message == 2
        assert backend(listener)
    assert "the connection that listens was lost" in caplog.text


def test_a_listener_that_waits_notices_that_its_connection_broke(collect):
    collector = collect(listen("news"))
    first = backend(collector.following)
    cut(collector.following)
    eventually(lambda: backend(collector.following) not in (None, first), "it has connected again", seconds=3)
    notify_only("news", "heard at once")
    eventually(lambda: texts(collector.found) == ["heard at once"], seconds=2)


def test_a_listener_waits_longer_and_longer_for_a_server_that_is_away(collect, monkeypatch):
    collector = collect(listen("news"))
    tries = []
    real = db.Listener

    def refuse(channels):
        tries.append(time.monotonic())
        if len(tries) > 4:
            return real(channels)
        raise OperationalError("the server is away")

    monkeypatch.setattr(db, "Listener", refuse)
    cut(collector.following)
    send_with_notify("news", "while away")
    eventually(lambda: texts(collector.found) == ["while away"], seconds=5)
    waits = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert waits == sorted(waits)
    assert waits[-1] > 5 * following.RETRIES[0]


def test_an_error_that_no_retry_mends_is_raised(monkeypatch):
    from django_workflow.events import messages

    with listen("news", timeout=1) as listener:
        monkeypatch.setattr(messages, "READ_MESSAGES", "SELECT nonsense, %s, %s, %s")
        with pytest.raises(ProgrammingError, match="nonsense"):
            next(listener)


def test_a_first_connection_that_fails_is_an_error(monkeypatch):
    def refuse(channels):
        raise OperationalError("no such server")

    monkeypatch.setattr(db, "Listener", refuse)
    with pytest.raises(OperationalError, match="no such server"):
        listen("news")


def test_a_lost_notification_costs_latency_only(monkeypatch):
    monkeypatch.setattr(following, "POLL", 0.05)
    with listen("news", timeout=3) as listener:
        monkeypatch.setattr(db, "notify_after_commit", lambda notifications: None)
        listener._look()  # the next one is due after a while
        send_with_notify("news", "nobody tells")
        assert next(listener).message == "nobody tells"


def test_closing_from_another_thread_ends_an_iteration_at_once(collect):
    collector = collect(listen("news"))
    eventually(lambda: collector.following._look_at > 0, "it waits")
    began = time.monotonic()
    collector.end()
    assert time.monotonic() - began < 2  # not at the next look, five seconds later
    assert list(collector.following) == []
    collector.following.close()


def test_a_signals_handler_may_close_what_its_thread_waits_for():
    listener = listen("news")
    before = signal.signal(signal.SIGUSR1, lambda number, frame: listener.close())
    main = threading.main_thread().ident
    ringer = threading.Thread(
        target=lambda: (eventually(lambda: listener._look_at > 0), signal.pthread_kill(main, signal.SIGUSR1))
    )
    try:
        ringer.start()
        assert list(listener) == []
    finally:
        ringer.join()
        signal.signal(signal.SIGUSR1, before)


def test_what_nobody_closed_is_closed_when_nobody_has_it_any_more():
    listener = listen("news")
    assert db.rows(OTHERS)
    del listener
    gc.collect()
    eventually(lambda: not db.rows(OTHERS), seconds=3)


def test_a_coroutine_may_close_and_unlisten_without_waiting():
    async def story():
        listener = listen("news")
        async with listener:
            listener.close()
        other = listen("news")
        waiting = asyncio.create_task(anext(other, "ended"))
        await asyncio.sleep(0.05)
        unlisten("news")
        return await asyncio.wait_for(waiting, 2)

    assert asyncio.run(story()) == "ended"


def test_a_closed_listener_delivers_nothing_more():
    with listen("news", timeout=0) as listener:
        send_with_notify("news", 1)
        send_with_notify("news", 2)
        assert next(listener).message == 1
    assert list(listener) == []


def test_an_idle_listener_asks_the_database_now_and_then_only(collect):
    collector = collect(listen("news"))
    looks = []
    source = collector.following._source
    eventually(lambda: collector.following._look_at > 0, "it waits")
    read = source.read
    source.read = lambda rows: looks.append(1) or read(rows)
    for number in range(20):
        send_with_notify("sport", number)
    send_with_notify("news", "at last")
    eventually(lambda: collector.found, seconds=2)
    assert len(looks) <= 2


# coroutines


@pytest.fixture
def sending():
    """Send from a coroutine, and close the connection that did."""
    yield asend_with_notify

    async def close():
        await sync_to_async(connections.close_all)()

    asyncio.run(close())


def test_a_coroutine_listens_without_blocking_its_loop(sending):
    async def story():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with listen("news", timeout=0.2) as listener:
            await sending("news", "hello")
            found = [item.message async for item in listener]
        ticking.cancel()
        return found, ticks

    found, ticks = asyncio.run(story())
    assert found == ["hello"]
    assert ticks > 20


def test_a_cancelled_wait_loses_nothing_and_the_listener_goes_on(sending):
    async def story():
        async with listen("news") as listener:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(listener), 0.02)
            await sending("news", "hello")
            return (await asyncio.wait_for(anext(listener), 5)).message

    assert asyncio.run(story()) == "hello"


def test_a_cancelled_task_leaves_no_connection_and_no_thread(sending):
    async def listening(is_listening):
        async with listen("news") as listener:
            is_listening.set()
            async for _ in listener:
                pass

    async def story():
        is_listening = asyncio.Event()
        task = asyncio.create_task(listening(is_listening))
        await is_listening.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - began < 3
    eventually(
        lambda: not [thread for thread in threading.enumerate() if "following" in thread.name], "its thread ended"
    )


def test_a_coroutines_listening_begins_with_async_with():
    async def story():
        waiting = listen("news", timeout=0)
        assert waiting.cursor is None
        async with waiting as listener:
            assert listener.cursor == (0, 0)

    asyncio.run(story())


def test_many_coroutines_listen_at_once(sending):
    async def one():
        async with listen("news") as listener:
            return (await anext(listener)).message

    async def story():
        tasks = [asyncio.create_task(one()) for _ in range(40)]
        while not all(task.done() for task in tasks):
            await sending("news", "to all")
            await asyncio.wait(tasks, timeout=0.05)
        return {task.result() for task in tasks}

    assert asyncio.run(story()) == {"to all"}


def test_events_are_followed_by_coroutines_too(flow):
    flow.step(name="root")(lambda: 1)
    run_id = flow.execute().run_id

    async def story():
        return [event.type async for event in follow(run_id, after=(0, 0), timeout=0)]

    assert asyncio.run(story()) == ["run.started", "step.started", "step.completed", "run.completed"]
