"""Where handlers run: threads, the event loop, processes, executors of the site's own."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import timedelta

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_workflow import Retry, testing
from django_workflow.models import Attempt, Event
from tests.waiting import eventually
from tests.worker.site import pools, workflows
from tests.worker.site.workflows import told

pytestmark = pytest.mark.slow

SOON = timedelta(milliseconds=10)
ONCE = Retry(max_attempts=1)


def test_plain_handlers_run_at_once_in_threads(flow, drain):
    together = threading.Barrier(4, timeout=10)

    @flow.map(count=4)
    def each():
        together.wait()
        return threading.get_ident()

    handle = flow.start()
    drain(concurrency=4)
    assert len(set(handle.result()["each"])) == 4


def test_coroutine_handlers_run_at_once_on_one_loop(flow, drain):
    arrived, everybody = [], asyncio.Event()

    @flow.map(count=30)
    async def each():
        arrived.append(1)
        if len(arrived) == 30:
            everybody.set()
        await everybody.wait()
        return threading.get_ident()

    handle = flow.start()
    drain(concurrency=30)
    assert len(set(handle.result()["each"])) == 1


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_never_more_handlers_at_once_than_the_concurrency(flow, drain, kind):
    running, most, lock = [], [], threading.Lock()

    def enter():
        with lock:
            running.append(1)
            most.append(len(running))

    if kind == "plain":

        @flow.map(count=30)
        def each():
            enter()
            running.pop()
    else:

        @flow.map(count=30)
        async def each():
            enter()
            await asyncio.sleep(0.001)
            running.pop()

    handle = flow.start()
    drain(concurrency=3)
    assert testing.assert_settled(handle).counts == {"each": 30}
    assert max(most) <= 3


@pytest.mark.parametrize("executor", ["thread", "async"])
def test_coroutines_go_to_the_loop_and_plain_functions_to_threads(flow, drain, executor):
    @flow.step
    async def awaits():
        return threading.current_thread().name

    @flow.step
    def plain():
        return threading.current_thread().name

    handle = flow.start()
    drain(executor=executor)
    result = handle.result()
    assert result["awaits"] == "django_workflow-event-loop"
    assert result["plain"].startswith("django_workflow-handler-")


def test_handlers_in_processes_get_all_that_others_get(site, drain):
    handle = workflows.apart.start({"a": [None, 0, "é"]})
    drain(executor="process", concurrency=2)
    result = testing.assert_settled(handle)
    pid, value, attempt, run_id, key, step = handle.run.tasks.get(step_run__step="describes").output
    assert pid != os.getpid()
    assert (value, attempt, run_id, step) == ({"a": [None, 0, "é"]}, 1, str(handle.id), "describes")
    assert key == f"{handle.id}:describes:1:0"
    assert result["reads"] == [True, False]
    assert result["awaits"] != os.getpid()
    assert Event.objects.get(run_id=handle.id, type="told").data == {"by": "the child"}


def test_every_outcome_comes_back_from_a_process(site, drain):
    handle = workflows.outcomes.start()
    drain(concurrency=2)
    result = testing.assert_settled(
        handle,
        steps=dict.fromkeys(["raises", "gives_up", "skips", "gives_no_json"], "skipped")
        | dict.fromkeys(["comes_back", "dies_once"], "succeeded"),
    )
    assert result.output == {"comes_back": "back", "dies_once": "alive"}
    errors = {error["step"]: error for error in result.errors}
    assert errors["raises"] == {"step": "raises", "class": "LookupError", "message": "in the child"}
    assert errors["gives_up"]["message"] == "no use"
    assert "set is not a JSON type" in errors["gives_no_json"]["message"]
    counts = {step: attempts_of(handle, step).count() for step in (*errors, "dies_once", "comes_back")}
    assert counts == {"raises": 2, "gives_up": 1, "gives_no_json": 1, "dies_once": 1, "comes_back": 1}
    died = attempts_of(handle, "dies_once").get()
    assert (died.error_class, died.message) == ("ProcessDied", "the handler's process ended with code 7")
    assert "in raises" in attempts_of(handle, "raises").first().traceback


def attempts_of(handle, step):
    # a busy machine starts processes slowly: what does not begin in time is handed back, uncounted
    return Attempt.objects.filter(run_id=handle.id, task__step_run__step=step, is_counted=True)


def test_process_past_its_timeout_is_killed_with_all_it_started(site, drain):
    handle = workflows.endless.start()
    drain(concurrency=1)
    result = testing.assert_settled(handle, "failed")
    assert result.error["class"] == "TimedOut"
    (name,) = Group.objects.filter(name__startswith="grandchild").values_list("name", flat=True)
    eventually(lambda: not is_alive(int(name.split()[1])), "the end of what the handler started")


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_children_end_with_their_worker(site, drain):
    workflows.apart.start(1)
    drain(executor="process", concurrency=2)
    ours = psutil.Process().children(recursive=True)
    assert not [child for child in ours if "django_workflow.worker.runners.child_main" in " ".join(child.cmdline())]


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_executor_of_the_site_runs_what_names_it(site, drain, settings, pool):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"pool": f"tests.worker.site.pools.{pool}"}}
    handle = workflows.pooled.start("input")
    drain()
    pid, count, value = testing.assert_settled(handle)["in_the_pool"]
    assert (pid == os.getpid(), count, value) == (pool == "threads", 0, "input")


def test_executor_of_the_step_wins_over_the_workers(flow, drain, settings):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"mine": pools.threads}}
    flow.step(name="here", executor="thread")(lambda: threading.current_thread().name)
    flow.step(name="there")(lambda: threading.current_thread().name)
    handle = flow.start()
    drain(executor="mine")
    result = testing.assert_settled(handle)
    assert result["here"].startswith("django_workflow-handler")
    assert result["there"].startswith("ThreadPoolExecutor")


def test_executor_that_does_not_exist_fails_the_step_and_names_the_known_ones(flow, drain):
    flow.step(name="only", executor="nonsense", retry=ONCE)(lambda: None)
    handle = flow.start()
    drain()
    error = testing.assert_settled(handle, "failed").error
    assert "There is no executor 'nonsense'; known: thread, async, process" in error["message"]


def test_connection_left_in_a_transaction_does_not_reach_the_next_handler(flow, drain):
    @flow.map(count=3)
    def each(index):
        before = connection.in_atomic_block
        transaction.atomic().__enter__()
        Group.objects.create(name=f"never committed {index}")
        return before

    handle = flow.start()
    drain(concurrency=1)
    assert testing.assert_settled(handle)["each"] == [False] * 3
    assert not Group.objects.exists()


def test_broken_pool_is_made_anew(site, drain, settings):
    settings.DJANGO_WORKFLOW = {"EXECUTORS": {"pool": pools.processes}}
    handle = workflows.breaking.start()
    drain()
    assert testing.assert_settled(handle)["breaks_its_pool"] == "alive"


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_broken_connection_is_replaced_for_the_next_handler(flow, drain, kind):
    retry = Retry(max_attempts=2, base=SOON)
    if kind == "plain":

        @flow.step(retry=retry)
        def uses(ctx):
            break_connection(ctx)
            return Group.objects.count()
    else:

        @flow.step(retry=retry)
        async def uses(ctx):
            await sync_to_async(break_connection)(ctx)
            return await Group.objects.acount()

    handle = flow.start()
    drain(concurrency=1)
    assert testing.assert_settled(handle)["uses"] == 0


def break_connection(ctx):
    if ctx.attempt == 1:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("kind", ["plain", "coroutine", "atomic"])
def test_orm_in_handlers_leaves_no_connection(flow, drain, kind):
    if kind == "coroutine":

        @flow.map(count=5)
        async def each():
            return await Group.objects.acount()
    else:

        @flow.map(count=5, atomic=kind == "atomic")
        def each():
            return Group.objects.count()

    handle = flow.start()
    drain(concurrency=5)
    assert testing.assert_settled(handle)["each"] == [0] * 5  # the fixture looks for what is left


def test_exception_whose_text_fails_takes_no_slot(flow, drain):
    class Mute(Exception):
        def __str__(self):
            raise ValueError

    @flow.map(count=4, tolerate=4, retry=ONCE)
    def each():
        raise Mute

    handle = flow.start()
    drain(concurrency=1)
    testing.assert_settled(handle)


def test_steps_of_all_kinds_settle_together(site, drain):
    handle = workflows.quick.start([1, 2, 3])
    drain()
    assert testing.assert_settled(handle)["last"][1] == 12
    assert told("each") == 3
