"""A Dask scheduler that is killed and started again, under a worker that goes on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import psutil
import pytest

from django_workflow.contrib.dask import DaskExecutor
from django_workflow.contrib.dask import executor as dask_executor
from django_workflow.models import Attempt
from tests.waiting import eventually
from tests.worker.site import heavy
from tests.worker.site.heavy import begins, go, repeated
from tests.workers import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("site")]

ROUNDS = 4


class Cluster:
    """A scheduler and one Dask worker as processes of their own, always at the same address."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both."""
        place = ("--host", "127.0.0.1", "--no-dashboard")
        self._run("dask_scheduler", *place, "--port", self.port)
        self._run("dask_worker", self.address, *place, "--no-nanny", "--nthreads", "1")

    def _run(self, command: str, *arguments: str) -> None:
        self.processes.append(
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command}", *arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def kill(self) -> None:
        """Kill both."""
        while self.processes:
            process = self.processes.pop(0)
            process.kill()
            process.wait()


@pytest.fixture
def cluster(monkeypatch):
    made = Cluster()
    monkeypatch.setenv("TEST_DASK_ADDRESS", made.address)
    yield made
    made.kill()


def test_worker_outlives_a_scheduler_that_is_killed_again_and_again_and_leaks_nothing(cluster, settings, work):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"dask": "tests.worker.site.engines.dask"}}
    cluster.start()
    handle = heavy.outliving.start([1])
    worker = work(queues=["heavy"])
    eventually(lambda: begins("outlives") == 1, "a handler that begins")
    lost = Attempt.objects.filter(run_id=handle.id, outcome="lost")
    before = None
    for number in range(1, ROUNDS + 1):
        told, began = lost.count(), begins("outlives")
        cluster.kill()
        eventually(lambda told=told: lost.count() > told, "a lost attempt", seconds=90)
        cluster.start()
        eventually(lambda began=began: begins("outlives") > began, "the next attempt", seconds=90)
        if number == 2:
            before = counts()
    # those of the last client take their time to end
    eventually(lambda: counts()[0] <= before[0] + 1, "threads that end", seconds=90)
    after = counts()
    assert after[1] <= before[1] + 3, "descriptors"
    go()
    eventually(lambda: handle.status == "succeeded", "the end of the run")
    assert not repeated()
    worker.stop()


def test_scheduler_that_is_out_of_reach_costs_no_thread_for_each_try(monkeypatch, caplog):
    monkeypatch.setattr(dask_executor, "CONNECT_WITHIN", 0.1)
    monkeypatch.setattr(dask_executor, "LOOK_EVERY", 0.1)
    connect, tries = dask_executor.Client, []

    def counted(*args, **options):
        tries.append(options)
        return connect(*args, **options)

    monkeypatch.setattr(dask_executor, "Client", counted)
    executor = DaskExecutor("tcp://127.0.0.1:9")
    eventually(lambda: len(tries) >= 2, "tries to connect")
    before = threading.active_count()
    eventually(lambda: len(tries) >= 6, "more tries to connect")
    assert threading.active_count() <= before
    assert caplog.text.count("cannot be reached") == 1, "it is told once, not for each try"
    executor.shutdown()
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "IO loop"], "the loop's end")


def counts():
    """Return how many threads and descriptors this process has."""
    return threading.active_count(), psutil.Process().num_fds()
