"""Live pages in real servers: uvicorn, daphne, and several web processes with Redis."""

import itertools
import signal
import socket

import pytest

from django_workflow import db
from tests.live.servers import Redis, Server
from tests.live.sockets import path_of
from tests.workers import database_url

pytestmark = pytest.mark.slow

ids = (f"01990000-0000-7000-8000-{number:012x}" for number in itertools.count(1))
ENDS = {0, -signal.SIGTERM}  # uvicorn ends by the signal it got


def notify(*runs):
    """Tell of changed runs; return the last id."""
    db.notify([(db.RUN_CHANNEL, str(run)) for run in runs])
    return runs[-1]


@pytest.fixture
def serve(tmp_path, transactional_db):
    """Start servers; those that still run at the end of the test are stopped."""
    started = []

    def start(program="uvicorn", **environ):
        started.append(Server(tmp_path, f"web-{len(started)}", database_url(), program, **environ))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture
def redis(tmp_path):
    """A Redis that nobody else uses."""
    redis = Redis(tmp_path)
    yield redis
    redis.stop()


@pytest.mark.parametrize("program", ["uvicorn", "daphne"])
def test_changes_reach_pages(serve, session, run, program):
    server = serve(program)
    board, page = server.page(session), server.page(session, path_of(run))
    notify(run.id)
    assert board.hear() == {"type": "changed", "version": 1, "runs": [str(run.id)]}
    assert page.hear() == {"type": "changed", "version": 1, "run": str(run.id)}
    page.ask()
    assert page.hear() == {"type": "resync"}
    assert board.is_silent()
    page.connection.send("{}")
    assert page.ending() == ([{"type": "refused"}], 4403)
    board.close()


@pytest.mark.parametrize("program", ["uvicorn", "daphne"])
def test_refusal_reaches_the_page(serve, run, program):
    assert serve(program).connect("", path_of(run)).ending() == ([{"type": "refused"}], 4403)


@pytest.mark.parametrize("program", ["uvicorn", "daphne"])
def test_server_ends_while_pages_are_open(serve, session, program):
    server = serve(program)
    server.page(session)
    assert server.stop() in ENDS
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("program", ["uvicorn", "daphne"])
def test_pages_that_vanish_leave_nothing_behind(serve, session, program):
    server = serve(program)
    for page in [server.page(session) for _ in range(10)]:
        page.connection.socket.shutdown(socket.SHUT_RDWR)  # no goodbye, as when a machine sleeps
        notify(next(ids))
    stays = server.page(session)
    last = notify(next(ids))
    assert last in stays.changes_until(last)
    stays.close()
    assert server.stop() in ENDS
    assert "Traceback" not in server.log.read_text()


def test_each_event_arrives_once_at_each_page_of_two_processes(serve, redis, session):
    servers = [serve(LIVE_REDIS=str(redis.path)) for _ in range(2)]
    pages = [server.page(session) for server in servers for _ in range(2)]
    settle(pages)
    told = [[] for _ in pages]
    sent = []
    for _ in range(20):
        sent.append(notify(next(ids)))
        for page, heard in zip(pages, told, strict=True):
            heard.extend(page.changes_until(sent[-1]))
    assert told == [sent] * len(pages)
    assert all(page.is_silent() for page in pages)
    # each sends what it hears, so two that hear would have told everything twice
    assert elected() == 1
    for page in pages:
        page.close()


def test_another_process_takes_over_when_the_elected_one_is_killed(serve, redis, session):
    first = serve(LIVE_REDIS=str(redis.path))
    settle([first.page(session)])  # the only one there is: it is elected
    second = serve(LIVE_REDIS=str(redis.path))
    page = second.page(session)
    settle([page])
    first.kill()
    page.hear_until("resync")
    settle([page])
    sent = [notify(next(ids)) for _ in range(3)]
    assert page.changes_until(sent[-1]) == sent
    assert page.is_silent()
    page.close()


def test_pages_are_told_that_redis_is_away(serve, redis, session):
    page = serve(LIVE_REDIS=str(redis.path)).page(session)
    settle([page])
    redis.stop()
    page.hear_until("stale")
    redis.start()
    page.hear_until("resync")
    settle([page])
    page.close()


def settle(pages):
    """Tell of a run until all pages hear it: the hub that was elected listens, and speaks to all."""
    for page in pages:
        while not any(message.get("runs") for message in heard_after_telling(page)):
            pass
    # whatever was told of more than once is over
    for page in pages:
        while not page.is_silent():
            pass


def heard_after_telling(page):
    notify(next(ids))
    try:
        return [page.hear(timeout=0.5)]
    except TimeoutError:
        return []


def elected():
    return db.rows(
        "SELECT count(*) FROM django_workflow_leader WHERE name = 'live' AND until > clock_timestamp()",
    )[0][0]
