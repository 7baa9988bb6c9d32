"""Real workers: in a thread of the test, or as processes of their own, against the test's database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import connection, connections

from django_workflow import db
from django_workflow.worker.options import WorkerOptions
from django_workflow.worker.process import WorkerProcess

ROOT = Path(__file__).resolve().parent.parent


def listeners() -> int:
    """Return how many workers are up: they listen last."""
    return db.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
    )[0][0]


class ThreadedWorker:
    """A whole worker (dispatcher, heartbeats, listener, keeper) in a thread of this process."""

    def __init__(self, **options: Any) -> None:
        self.failure: BaseException | None = None
        self.process = WorkerProcess(WorkerOptions(**options))
        self.dispatcher = self.process.dispatcher
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.process.run()
        except BaseException as error:
            self.failure = error
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Stop as SIGTERM does and wait for the end."""
        self.process.stop()
        self.join()

    def join(self, seconds: float = 30.0) -> None:
        """Wait for the end; a worker that failed fails the test."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the worker does not end"
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def work() -> Iterator[Callable[..., ThreadedWorker]]:
    """Start workers in threads; they are stopped at the end of the test."""
    started: list[ThreadedWorker] = []

    def start(**options: Any) -> ThreadedWorker:
        started.append(ThreadedWorker(**options))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def drain(work) -> Callable[..., ThreadedWorker]:
    """Run a worker until the queues are empty."""

    def run(**options: Any) -> ThreadedWorker:
        worker = work(drain=True, **options)
        worker.join()
        return worker

    return run


@pytest.fixture
def site(monkeypatch) -> dict[str, str]:
    """The environment of processes that know the flows of `tests.worker.site` and use the test's database."""
    values = {"DJANGO_SETTINGS_MODULE": "tests.worker.settings", "DATABASE_URL": database_url()}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def database_url() -> str:
    """Return the URL of the test's database."""
    entry = connection.settings_dict
    place = {"host": entry["HOST"], "port": entry["PORT"], "user": entry["USER"], "password": entry["PASSWORD"]}
    return f"postgresql:///{quote(entry['NAME'])}?" + urlencode({name: value for name, value in place.items() if value})


class WorkerCommand:
    """`manage.py run_workflow_worker` as a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "run_workflow_worker", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.popen.send_signal(signal.SIGTERM)

    def end(self, seconds: float = 30.0) -> tuple[int, str]:
        """Wait for the end; return exit code and all it printed."""
        output, _ = self.popen.communicate(timeout=seconds)
        return self.popen.returncode, output


@pytest.fixture
def command(site) -> Iterator[Callable[..., WorkerCommand]]:
    """Start worker processes; what still runs at the end of the test is killed."""
    started: list[WorkerCommand] = []

    def start(*arguments: str) -> WorkerCommand:
        started.append(WorkerCommand(*arguments))
        return started[-1]

    yield start
    for item in started:
        if item.popen.poll() is None:
            item.popen.kill()
            item.popen.wait()
