"""Steps on a Dask cluster: real schedulers and workers in processes of their own, which are killed at will."""

from __future__ import annotations

import pytest

from django_workflow import testing
from django_workflow.contrib.dask import DaskExecutor
from django_workflow.engine.stored import versions
from django_workflow.models import Attempt, FlowDefinition, Task
from django_workflow.worker.dispatching import external_jobs
from example_project.audit.flow import audit
from tests.waiting import eventually
from tests.worker.dask_cluster import DaskCluster
from tests.worker.site import engines, heavy
from tests.worker.site.heavy import begins, go, repeated

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("site")]

PLAIN, OURS = "plain_dask", "dask"


@pytest.fixture(scope="module")
def cluster(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        made = DaskCluster(workers=2, resources={"GPU": 1})
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _cluster_is_whole(cluster, monkeypatch):
    monkeypatch.setenv("TEST_DASK_ADDRESS", cluster.address)
    cluster.wait_until_idle()
    yield
    go()
    while engines.opened:
        engines.opened.pop().close()
    cluster.wait_until_idle()


@pytest.fixture(params=[OURS])
def engine(request, settings, monkeypatch):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"dask": f"tests.worker.site.engines.{request.param}"}}
    monkeypatch.setenv("TEST_DASK_EXECUTOR", request.param)
    return request.param


both = pytest.mark.parametrize("engine", [PLAIN, OURS], indirect=True)


@both
def test_results_are_let_go_so_that_a_dead_dask_worker_runs_no_settled_handler_again(cluster, engine, work):
    handle = heavy.many.start(list(range(20)))
    worker = work(queues=["heavy"])
    eventually(lambda: handle.status == "succeeded", "the end of the run")
    testing.assert_settled(handle)
    eventually(lambda: not cluster.tasks(), "an empty Dask scheduler")
    for _ in range(2):
        cluster.wait_until_idle(replaced=cluster.kill_one())
    assert begins("measures") == 20
    assert not repeated()
    worker.stop()


@both
def test_sigterm_ends_with_zero_and_hands_back_what_runs_and_what_waits(cluster, engine, command):
    handle = heavy.slow.start(list(range(8)))
    worker = command("--queues", "heavy", "--grace", "1")
    eventually(lambda: begins("waits") == 2, "handlers that begin")
    worker.terminate()
    code, output = worker.end()
    assert code == 0, output
    assert "Traceback" not in output
    assert set(Task.objects.filter(run_id=handle.id).values_list("status", flat=True)) == {"queued"}
    assert not Attempt.objects.filter(is_counted=True).exists()
    eventually(lambda: not cluster.tasks(), "an empty Dask scheduler")
    assert begins("waits") == 2


@pytest.mark.parametrize("look_every", [0.5, 600.0], ids=["looked at", "before anybody looked"])
def test_dask_worker_that_dies_loses_the_attempt_and_nothing_begins_twice(
    cluster, engine, work, monkeypatch, look_every
):
    monkeypatch.setattr(external_jobs, "LOOK_EVERY", look_every)
    handle = heavy.slow.start([0, 1])
    work(queues=["heavy"])
    eventually(lambda: begins("waits") == 2, "handlers that begin")
    cluster.kill_one()
    lost = Attempt.objects.filter(run_id=handle.id, outcome="lost")
    eventually(lost.exists, "a lost attempt")
    go()
    eventually(lambda: handle.status == "succeeded", "the end of the run")
    attempt = lost.get()
    assert (attempt.error_class, attempt.is_counted, attempt.begun_at is not None) == ("WorkerLost", True, True)
    assert begins("waits") == 3
    assert not repeated()


def test_time_counts_from_the_begin_and_not_from_the_hand_over(cluster, engine, work, monkeypatch):
    monkeypatch.setenv("TEST_DASK_SLOTS", "3")
    handle = heavy.slow.start([0, 1, 2])
    worker = work(queues=["heavy"])
    eventually(lambda: begins("waits") == 2, "handlers that begin")
    tasks = Task.objects.filter(run_id=handle.id, status="running")
    eventually(lambda: len(worker.dispatcher.in_flight.running()) == 2, "the begins, told to the worker")
    assert sorted(task.begun_at is not None for task in tasks) == [False, True, True]
    (waiting,) = worker.dispatcher.in_flight.elsewhere()
    assert waiting.deadline is None
    go()
    eventually(lambda: handle.status == "succeeded", "the end of the run")


@pytest.mark.parametrize("flow", [heavy.sleeping, heavy.breathing], ids=["plain", "coroutine"])
def test_timeout_stops_a_handler_of_python_code(cluster, engine, work, flow):
    handle = flow.start(1)
    work(queues=["heavy"])
    eventually(lambda: handle.status == "failed", "the timeout")
    assert testing.assert_settled(handle, "failed").error["class"] == "TimedOut"
    assert begins("sleeps") == 1
    eventually(lambda: not cluster.tasks(), "the end of the handler", seconds=20)


def test_timeout_of_a_handler_in_c_code_is_told_at_once_and_its_slot_stays_taken(cluster, engine, work):
    handle = heavy.deaf.start(1)
    worker = work(queues=["heavy"])
    eventually(lambda: handle.status == "failed", "the timeout")
    assert handle.result().error["class"] == "TimedOut"
    assert worker.dispatcher.in_flight.count_elsewhere("dask") == 1
    eventually(lambda: worker.dispatcher.in_flight.count_elsewhere("dask") == 0, "the end of the handler")
    assert begins("woke") == 0


def test_cancelled_run_leaves_the_queue_of_dask_and_gives_its_resources_back(cluster, engine, work, monkeypatch):
    monkeypatch.setenv("TEST_DASK_SLOTS", "12")
    handle = heavy.needing.start(list(range(12)))
    work(queues=["heavy"])
    eventually(lambda: begins("occupies") == 2, "handlers that begin")
    eventually(lambda: len(cluster.tasks()) == 12, "ten more in Dask's queue")
    handle.cancel("enough")
    assert handle.status == "cancelled"
    eventually(lambda: not cluster.tasks(), "an empty queue", seconds=30)
    assert begins("occupies") == 2
    go()
    again = heavy.needing.start([1, 2])
    eventually(lambda: again.status == "succeeded", "a run that gets the same resources")


def test_resources_that_nobody_has_fail_the_step_and_tell_what_there_is(cluster, engine, work):
    handle = heavy.impossible.start()
    work(queues=["heavy"])
    eventually(lambda: handle.status == "failed", "the end of the wait")
    message = testing.assert_settled(handle, "failed").error["message"]
    assert message.startswith("No Dask worker has TPU: 1 (2 s waited). Resources by worker: tcp://127.0.0.1:")
    assert message.count("GPU: 1") == 2
    assert Attempt.objects.filter(run_id=handle.id).count() == 1


def test_two_workers_share_a_cluster_and_neither_hoards(cluster, engine, work):
    handle = heavy.many.start(list(range(150)))
    workers = [work(queues=["heavy"]) for _ in range(2)]
    most = 0

    def is_done():
        nonlocal most
        most = max(most, *(worker.dispatcher.in_flight.count_elsewhere("dask") for worker in workers))
        return handle.status == "succeeded"

    eventually(is_done, "the end of the run", seconds=120)
    assert begins("measures") == 150
    assert not repeated()
    assert most <= 3
    assert Task.objects.filter(run_id=handle.id).values("worker_id").distinct().count() == 2


def test_odd_outcomes_are_the_same_as_in_a_thread(cluster, engine, work):
    here = {error["step"]: (error["class"], error["message"]) for error in heavy.odd.execute().errors}
    handle = heavy.odd.start()
    work(queues=["heavy"])
    eventually(lambda: handle.status == "succeeded", "the end of the run")
    result = testing.assert_settled(handle)
    assert {error["step"]: (error["class"], error["message"]) for error in result.errors} == here
    assert set(here) == {"too_large", "no_number", "no_json", "raises"}
    assert result["awaits"] == "a coroutine"


def test_handler_that_the_cluster_does_not_know_is_put_back_uncounted(cluster, engine, flow, work):
    flow.step(name="unknown", executor="dask")(lambda: None)
    handle = flow.start()
    work()
    attempts = Attempt.objects.filter(run_id=handle.id)
    eventually(lambda: attempts.count() >= 2, "a task that is put back")
    attempt = attempts.first()
    assert (attempt.outcome, attempt.is_counted) == ("released", False)
    assert (attempt.reason, attempt.missing_code) == ("no_handler", f"{flow.slug}.unknown")
    handle.cancel("enough")


def test_audit_measures_packages_on_the_cluster_where_an_operator_says_so(cluster, engine, work):
    versions.publish_declared()
    FlowDefinition.objects.filter(slug="audit").update(overrides={"measure": {"executor": "dask", "queue": "heavy"}})
    names = ["Django", "psycopg", "distributed"]
    handle = audit.start({"packages": names})
    work(queues=["default", "heavy"])
    eventually(lambda: handle.status == "succeeded", "the end of the audit")
    assert testing.assert_settled(handle)["report"]["packages"] == len(names)
    begun_there = Task.objects.filter(run_id=handle.id, begun_lease_id__isnull=False)
    assert set(begun_there.values_list("step_run__step", flat=True)) == {"measure"}
    assert begun_there.count() == len(names)


def test_handlers_begin_at_most_once_per_attempt_while_dask_workers_are_killed(cluster, engine, work):
    handle = heavy.grinding.start(list(range(60)))
    work(queues=["heavy"])
    for goal in (5, 15, 25):
        eventually(lambda goal=goal: begins("grinds") >= goal, "handlers that begin", seconds=120)
        cluster.kill_one()
    eventually(lambda: handle.status == "succeeded", "the end of the run", seconds=180)
    testing.assert_settled(handle)
    assert not repeated()
    lost = Attempt.objects.filter(run_id=handle.id, outcome="lost")
    assert lost.exists()
    # one may be killed after it has taken the begin and before its handler's first line
    assert 60 <= begins("grinds") <= 60 + lost.filter(begun_at__isnull=False).count()


def test_doctor_looks_at_the_cluster_and_at_what_its_workers_know(cluster):
    executor = DaskExecutor(cluster.address)
    wanted = {"site_gpu.occupies": {"GPU": 1}, "site_impossible.needs_what_nobody_has": {"TPU": 1}}
    found = list(executor.examine(wanted, ["site_many.measures", "nobody.knows"]))
    executor.shutdown()
    assert [level for level, _, _ in found] == ["ok", "warning", "warning", "warning"]
    assert found[0][1] == "2 Dask workers with 2 threads"
    assert "TPU: 1" in found[1][1]
    assert all(text.endswith("does not know nobody.knows") for _, text, _ in found[2:])


def test_executor_that_is_declared_wrongly_says_so():
    with pytest.raises(ValueError, match="it starts no Dask itself"):
        DaskExecutor()
    with pytest.raises(ValueError, match="one of address, scheduler_file and cluster"):
        DaskExecutor("tcp://here:1", scheduler_file="there")
    with pytest.raises(ValueError, match="slots must be"):
        DaskExecutor("tcp://here:1", slots=0)
