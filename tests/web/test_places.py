"""Queues and workers: what waits, who works, and what nobody takes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_workflow import Flow, pause_queue, queue
from django_workflow.engine.stored import versions
from django_workflow.models import Queue, Worker
from django_workflow.read import queues
from tests.web.pages import fragment, statements, text_of

QUEUES, WORKERS = "/workflow/queues/", "/workflow/workers/"


@pytest.fixture
def viewing(viewer, client_of):
    return client_of(viewer)


@pytest.fixture
def operating(operator, client_of):
    return client_of(operator)


@pytest.fixture
def worker(db):
    """Make a worker that was heard of some seconds ago."""

    def make(*queues, ago=1, **values):
        heard = timezone.now() - timedelta(seconds=ago)
        options = {"hostname": "host", "pid": Worker.objects.count() + 100, "concurrency": 4, "lease_seconds": 30.0}
        return Worker.objects.create(queues=list(queues), heartbeat_at=heard, **options | values)

    return make


@pytest.fixture
def line(unique, db):
    """A queue of this test's own."""
    name = unique("line")
    versions.ensure_queues([name])
    return name


@pytest.fixture
def held(flow: Flow, line):
    """Tasks in that queue: as many as asked for."""
    flow.step(name="only", queue=line)(lambda input: input)
    return lambda count: flow.start_many([None] * count)


def row(response, name):
    """Return the words of a queue's row."""
    html = fragment(response, "queues")
    part = html[html.index(f'<span class="strong">{name}</span>') :]
    response.content = part[: part.index("</tr>")].encode()
    return text_of(response)


class TestQueues:
    def test_depth_is_told(self, held, line, worker, viewing):
        worker(line)
        held(3)
        assert "3" in row(viewing.get(QUEUES), line)
        queue.read(line, 30, 1)
        state = next(state for state in self.states() if state.name == line)
        assert (str(state.visible), str(state.hidden), str(state.total)) == ("2", "1", "3")

    def states(self, most=queues.MOST):
        found, _ = queues.read()
        queues.read_depths(found, most)
        return found

    def test_deep_queues_are_not_counted_to_the_end(self, held, line):
        held(5)
        state = next(state for state in self.states(2) if state.name == line)
        assert (str(state.visible), str(state.total)) == ("2+", "2+")

    def test_a_queue_that_nobody_serves_is_warned_of(self, held, line, worker, viewing):
        held(1)
        worker(line, ago=100)
        words = text_of(viewing.get(QUEUES))
        assert f"No worker serves queue {line} : 1 task waits. Start one:" in words
        assert f"--queues {line}" in words
        worker(line)
        assert f"No worker serves queue {line}" not in text_of(viewing.get(QUEUES))

    def test_an_empty_queue_needs_no_worker(self, line, viewing):
        assert f"No worker serves queue {line}" not in text_of(viewing.get(QUEUES))

    def test_a_pause_is_told_with_who_and_why(self, line, viewing):
        pause_queue(line, reason="<b>flood</b>", by="ada")
        response = viewing.get(QUEUES)
        assert f"Queue {line} is paused by ada" in text_of(response)
        assert "<b>flood" not in response.content.decode()

    def test_operators_pause_and_resume(self, line, operating, viewer, client_of):
        assert f"/workflow/queues/{line}/actions/pause/" in operating.get(QUEUES).content.decode()
        pause_queue(line)
        html = operating.get(QUEUES).content.decode()
        assert f"/workflow/queues/{line}/actions/resume/" in html
        assert "/actions/" not in client_of(viewer).get(QUEUES).content.decode()

    def test_two_statements(self, line, worker, viewing):
        worker(line)
        with statements() as found:
            viewing.get(QUEUES)
        assert len(found) == 2

    def test_none_at_all(self, viewing):
        Queue.objects.all().delete()
        assert "No queues yet" in text_of(viewing.get(QUEUES))


class TestWorkers:
    def test_a_worker_is_told(self, worker, viewing):
        worker("default", "mail", hostname="web-1", pid=7, running_count=3, settled_count=12_345)
        words = text_of(viewing.get(WORKERS))
        for told in ("web-1:7", "live", "default mail", "3 of 4", "12,345", "3 of 4 slots busy, 1 worker"):
            assert told in words

    def test_one_that_fell_silent_is_warned_of(self, worker, viewing):
        worker("default", ago=60, hostname="lost", pid=8)
        words = text_of(viewing.get(WORKERS))
        assert "not reporting" in words
        assert "Worker lost:8 stopped reporting 1 min" in words

    def test_those_that_stopped_are_folded_away_for_a_day(self, worker, viewing):
        now = timezone.now()
        worker("default", ago=600, hostname="gone", stopped_at=now)
        worker("default", ago=100_000, hostname="forgotten", stopped_at=now)
        response = viewing.get(WORKERS)
        assert "gone" in fragment(response, "stopped")
        assert "<details" in fragment(response, "stopped")
        assert "gone" not in fragment(response, "workers")
        assert "forgotten" not in response.content.decode()

    def test_one_statement(self, worker, viewing):
        worker("default")
        with statements() as found:
            viewing.get(WORKERS)
        assert len(found) == 1

    def test_none_at_all(self, db, viewing):
        assert "No worker is running" in text_of(viewing.get(WORKERS))

    def test_a_name_with_markup_is_only_words(self, worker, viewing):
        worker("<i>", hostname="<script>alert(1)</script>", ago=60)
        assert "<script>alert" not in viewing.get(WORKERS).content.decode()
