"""Whatever handlers do, the worker goes on; one that cannot go on does not look alive."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta

import psutil
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group

from django_workflow import Retry, testing
from django_workflow.models import Attempt, Worker
from django_workflow.worker.jobs.job import Job
from tests.waiting import eventually
from tests.worker.site import alive, workflows
from tests.worker.site.telling import told
from tests.workers import ROOT

SHORT = timedelta(milliseconds=50)
ONCE = Retry(max_attempts=1)


# threads that are interrupted


@pytest.mark.slow
def test_handlers_that_log_all_the_time_are_stopped_and_leave_nobody_waiting(command):
    handles = alive.shouting.start_many([None] * 3)
    code, output = command("--queues", "shouting", "--concurrency", "8", "--drain", "--quiet").end(120)
    assert code == 0, output[-2000:]
    for handle in handles:
        testing.assert_settled(handle)
    assert set(Attempt.objects.values_list("outcome").filter(is_counted=True)) == {("timed_out",)}
    assert Attempt.objects.filter(is_counted=True).count() == 3 * 64


COLLECTED = """
import faulthandler, gc, sys, threading
faulthandler.dump_traceback_later(10, exit=True)
from django_workflow.worker.jobs import interruption

class Stopped(BaseException):
    pass

def waits():
    entered.release()
    go_on.wait()

def handles():
    try:
        waits()
    except Stopped:
        print("stopped", flush=True)

def starts_a_thread(phase, info):
    if threading.get_ident() == interrupter and phase == "start":
        wanted.release()
        started.acquire()

def starts_threads():
    while True:
        wanted.acquire()
        threading.Thread(target=int).start()
        started.release()

entered, wanted, started = (threading.Semaphore(0) for _ in range(3))
go_on, interrupter = threading.Event(), threading.get_ident()
threading.Thread(target=starts_threads, daemon=True).start()
thread = threading.Thread(target=handles)
thread.start()
entered.acquire()
gc.callbacks.append(starts_a_thread)
gc.set_threshold(1)
while not interruption.raise_in(thread.ident, Stopped, handles.__code__):
    pass
gc.callbacks.clear()
go_on.set()
thread.join()
"""


def test_garbage_that_starts_a_thread_does_not_hang_who_interrupts():
    command = [sys.executable, "-c", COLLECTED]
    assert subprocess.check_output(command, cwd=ROOT, text=True, timeout=60) == "stopped\n"


def waits_for_an_event(event):
    while not event.wait(0.01):
        pass


def waits_for_a_condition(event):
    found = threading.Condition()
    with found:
        while not event.is_set():
            found.wait(0.01)


def joins_a_thread(event):
    other = threading.Thread(target=event.wait)
    other.start()
    while other.is_alive():
        other.join(0.01)


def makes_locks(event):
    while not event.is_set():
        lock = threading.Condition()
        with lock:
            pass


@pytest.mark.parametrize("waits", [waits_for_an_event, waits_for_a_condition, joins_a_thread, makes_locks])
def test_handler_that_is_nearly_always_in_threading_is_stopped(flow, drain, waits):
    event, stopped = threading.Event(), []

    @flow.step(timeout=SHORT, retry=ONCE)
    def slow():
        try:
            waits(event)
        except BaseException as error:
            stopped.append(type(error).__name__)
            event.set()
            raise

    handle = flow.start()
    threading.Timer(10, event.set).start()
    drain()
    assert testing.assert_settled(handle, "failed").error["class"] == "TimedOut"
    eventually(lambda: stopped, "the end of the handler")
    assert stopped == ["Cancelled"]


def test_import_is_not_broken_off(flow, drain, tmp_path, monkeypatch):
    package = tmp_path / "imported_slowly"
    package.mkdir()
    (package / "part.py").write_text("value = 7")
    (package / "__init__.py").write_text(
        "from .part import value\nimport time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    @flow.step(timeout=SHORT, retry=Retry(max_attempts=50, strategy="constant", base=timedelta(milliseconds=100)))
    def imports():
        import imported_slowly

        return imported_slowly.part.value

    handle = flow.start()
    drain()
    assert testing.assert_settled(handle)["imports"] == 7


def test_connection_of_a_handler_that_was_stopped_is_no_other_handlers(flow, make_flow, drain):
    """It may still wait for an answer."""

    @flow.step(timeout=SHORT, retry=ONCE)
    def slow():
        while True:
            Group.objects.count()

    other = make_flow()
    other.map(name="uses", count=5)(Group.objects.count)
    first, second = flow.start(), other.start()
    drain(concurrency=1)
    assert testing.assert_settled(first, "failed").error["class"] == "TimedOut"
    assert testing.assert_settled(second)["uses"] == [0] * 5


# what runs handlers


@pytest.mark.slow
def test_what_a_process_has_started_does_not_keep_its_slot_when_it_dies(site, drain):
    handle = alive.orphaning.start()
    drain(concurrency=1)
    result = testing.assert_settled(handle, steps={"leaves_an_orphan": "skipped", "next_one": "succeeded"})
    (error,) = result.errors
    assert error["message"] == "the handler's process ended with code 7"
    (name,) = Group.objects.filter(name__startswith="orphan").values_list("name", flat=True)
    eventually(lambda: not is_running(int(name.split()[1])), "the end of what the handler has forked")


def is_running(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["process", "thread"])
def test_handler_that_forks_comes_back_once(site, command, executor):
    handle = alive.forking.start()
    code, output = command("--drain", "--quiet", "--executor", executor, "--concurrency", "1").end()
    assert code == 0, output
    assert testing.assert_settled(handle)["forks"] == [True, True]
    forked = Group.objects.filter(name__startswith="fork ").values_list("name", flat=True)
    assert [is_running(int(name.split()[1])) for name in forked] == [False, False]


@pytest.mark.slow
def test_descriptors_that_are_used_up_fail_attempts_and_keep_no_slot(command):
    users = alive.using_up.start()
    worker = command("--queues", "using_up", "--concurrency", "2", "--quiet")
    eventually(lambda: told("used up"), "a process without descriptors")
    needers = alive.needing.start()
    eventually(lambda: needers.status == users.status == "succeeded", "both runs", seconds=60)
    assert Attempt.objects.filter(run_id=needers.id, error_class="OSError", is_counted=True).exists()
    worker.terminate()
    code, output = worker.end()
    assert code == 0, output
    assert "an attempt was ended by what runs it" in output
    assert "Too many open files" in output


@pytest.mark.slow
def test_stop_that_comes_when_its_job_has_ended_does_not_hit_the_next_one(site, drain, monkeypatch):
    stops = []
    forget = Job.cannot_be_stopped

    def stop_too_late(job):
        stops.append(job._stop)
        forget(job)
        stops[-1]()

    monkeypatch.setattr(Job, "cannot_be_stopped", stop_too_late)
    handles = workflows.quick.start_many([[]] * 3)
    drain(executor="process", concurrency=1)
    assert len({testing.assert_settled(handle)["last"][0] for handle in handles}) == 1
    assert len(stops) == 6
    assert not Attempt.objects.filter(is_counted=True).exists()


def test_coroutine_that_is_interrupted_as_it_begins_is_stopped(flow, drain, monkeypatch):
    begin = Job.begin

    def begin_and_be_interrupted(job, **options):
        begun = begin(job, **options)
        job.interrupt()
        return begun

    monkeypatch.setattr(Job, "begin", begin_and_be_interrupted)

    @flow.step(retry=ONCE)
    async def slow():
        await asyncio.sleep(60)

    handle = flow.start()
    began = time.monotonic()
    drain()
    assert testing.assert_settled(handle, "failed").error["class"] == "Cancelled"
    assert time.monotonic() - began < 30


def test_task_of_a_coroutine_that_ends_the_loop_ends_no_other_coroutine(flow, drain):
    @flow.map(count=4, retry=ONCE)
    async def each(index):
        if index == 0:
            asyncio.get_running_loop().create_task(ends_the_process())
        if index == 1:
            asyncio.get_running_loop().stop()
        await asyncio.sleep(0.05)
        return await sync_to_async(Group.objects.count)()

    async def ends_the_process():
        raise SystemExit(3)

    handle = flow.start()
    drain()
    assert testing.assert_settled(handle)["each"] == [0] * 4


def test_thread_that_cannot_be_started_is_done_without(flow, drain, monkeypatch):
    start = threading.Thread.start
    refused = []

    def start_one(thread):
        if thread.name.startswith("django_workflow-handler-") and thread.name != "django_workflow-handler-0":
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    flow.map(name="each", count=5)(lambda index: index)
    handle = flow.start()
    drain(concurrency=3)
    assert testing.assert_settled(handle)["each"] == [0, 1, 2, 3, 4]
    assert refused


# a loop that stands still

STALLED = 70


@pytest.mark.slow
def test_worker_whose_loop_stands_still_ends_and_says_where_it_stood(command, monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_STALL_LIMIT", "2")
    monkeypatch.setenv("TEST_JUDGES", str(tmp_path / "judges"))
    alive.hanging.start()
    code, output = command("--queues", "hanging", "--lease", "1.5", "--quiet").end()
    assert code == STALLED, output
    assert "the worker's loop has stood still for 2 s: its heartbeats stop" in output
    assert "alive.py" in output
    assert "in never" in output


@pytest.mark.slow
def test_sigterm_ends_a_worker_whose_loop_stands_still(command, monkeypatch, tmp_path):
    monkeypatch.setenv("TEST_STALL_LIMIT", "2")
    monkeypatch.setenv("TEST_JUDGES", str(tmp_path / "judges"))
    alive.hanging.start()
    worker = command("--queues", "hanging", "--lease", "60", "--grace", "0.5", "--quiet")
    eventually((tmp_path / "judges").exists, "a condition that hangs")
    worker.terminate()
    code, output = worker.end(20)
    assert code == STALLED
    assert "in never" in output


@pytest.mark.slow
def test_sigterm_ends_a_worker_though_a_thread_of_the_sites_own_never_ends(command, monkeypatch):
    monkeypatch.setenv("TEST_STALL_LIMIT", "2")
    handle = alive.pool_forever.start()
    worker = command("--queues", "forever", "--grace", "0.5", "--quiet")
    eventually(lambda: told("in the pool"), "a handler that never ends")
    worker.terminate()
    code, output = worker.end(20)
    assert code == 0, output
    assert handle.run.tasks.get().status == "queued"
    assert Worker.objects.get().stopped_at is not None


def test_heartbeats_stop_where_the_loop_stands_still_and_go_on_with_it(flow, work, settings):
    settings.DJANGO_WORKFLOW = {"STALL_LIMIT": timedelta(seconds=1)}
    may_go_on, hangs = threading.Event(), threading.Event()

    @flow.step
    def first():
        return os.getpid()

    worker = work(lease=timedelta(seconds=1.5))
    apply = worker.dispatcher._apply

    def hang(settled):
        if settled.done:
            hangs.set()
            may_go_on.wait(30)
        apply(settled)

    worker.dispatcher._apply = hang
    handle = flow.start()
    assert hangs.wait(20)
    row = Worker.objects.filter(pk=worker.dispatcher.worker_id)

    def heartbeat():
        return row.values_list("heartbeat_at", flat=True).get()

    eventually(lambda: worker.process.heartbeats._is_stalled(0.0), "heartbeats that notice")
    before = heartbeat()
    may_go_on.set()
    eventually(lambda: heartbeat() > before, "heartbeats, once the loop goes on")
    assert handle.wait(20).is_success
