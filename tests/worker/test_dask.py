"""Steps on a Dask cluster: real schedulers and workers in processes of their own, which are killed at will."""

from __future__ import annotations

import os
import signal

import pytest

from django_workflow import testing
from django_workflow.models import Attempt, Task
from tests.waiting import eventually
from tests.worker.dask_cluster import DaskCluster
from tests.worker.site import engines, heavy
from tests.worker.site.heavy import begins, go, repeated

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("site")]


@pytest.fixture(scope="module")
def cluster(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        made = DaskCluster(workers=2)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _cluster_is_whole(cluster, monkeypatch):
    monkeypatch.setenv("TEST_DASK_ADDRESS", cluster.address)
    cluster.wait_until_idle()
    yield
    while engines.opened:
        engines.opened.pop().close()


@pytest.fixture
def plain(settings, monkeypatch):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"dask": "tests.worker.site.engines.plain_dask"}}
    monkeypatch.setenv("TEST_DASK_EXECUTOR", "plain_dask")


def test_results_are_let_go_so_that_a_dead_dask_worker_runs_no_settled_handler_again(cluster, plain, work):
    handle = heavy.many.start(list(range(20)))
    worker = work(queues=["heavy"])
    eventually(lambda: handle.status == "succeeded", "the end of the run")
    testing.assert_settled(handle)
    eventually(lambda: not cluster.tasks(), "an empty Dask scheduler")
    for pid in cluster.pids():
        os.kill(pid, signal.SIGKILL)
        cluster.wait_until_idle(replaced=pid)
    assert begins("measures") == 20
    assert not repeated()
    worker.stop()


def test_sigterm_with_an_executor_that_knows_no_cancelling_of_what_waits_ends_with_zero(cluster, plain, command):
    handle = heavy.slow.start(list(range(8)))
    worker = command("--queues", "heavy", "--grace", "1")
    eventually(lambda: begins("waits") == 2, "handlers that begin")
    worker.terminate()
    code, output = worker.end()
    assert code == 0, output
    assert "Traceback" not in output
    assert set(Task.objects.filter(run_id=handle.id).values_list("status", flat=True)) == {"queued"}
    assert not Attempt.objects.filter(is_counted=True).exists()
    go()
