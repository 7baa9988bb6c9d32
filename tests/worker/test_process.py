"""The worker as people run it: `manage.py run_workflow_worker` in processes of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import psutil
import pytest

from django_workflow import testing
from django_workflow.models import Attempt, Task, Worker
from tests.waiting import eventually
from tests.worker.site import workflows
from tests.worker.site.workflows import patient, quick, stubborn, tell, told
from tests.workers import ROOT, listeners

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("site")]


def test_drain_executes_everything_tells_so_and_ends_with_zero(command):
    handles = quick.start_many([[1, 2, 3]] * 10)
    code, output = command("--drain").end()
    assert code == 0, output
    for handle in handles:
        (pid, total) = testing.assert_settled(handle)["last"]
        assert (pid != os.getpid(), total) == (True, 12)
    assert told("each") == 30
    first, *_, bar, last = output.splitlines()
    assert first == "serving default with 16 at once; Ctrl-C stops"
    assert "100%  50/50 attempts" in bar
    assert "░" not in bar
    assert last == "stopped: 50 succeeded, 0 failed attempts"


CALLED = """
import signal, threading
import django
django.setup()
from django.core.management import call_command
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.default_int_handler)
call_command("run_workflow_worker", drain=True, quiet=True)
for thread in threading.enumerate():
    if thread.name == "django_workflow-signals":
        thread.join()
print({signal.getsignal(number).__name__ for number in (signal.SIGTERM, signal.SIGINT)})
from django_workflow import db
print(db.rows("SELECT current_setting('enable_seqscan')"), flush=True)
"""


def test_process_that_calls_the_command_goes_on_afterwards_as_before(monkeypatch):
    monkeypatch.setenv("TEST_STALL_LIMIT", "1")
    handle = quick.start([1])
    output = subprocess.check_output([sys.executable, "-c", CALLED], cwd=ROOT, text=True, timeout=60)
    assert output == "{'default_int_handler'}\n[('on',)]\n"
    testing.assert_settled(handle)


LAST_SIGNAL = """
import os, signal

class Last:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGTERM):
        kill(process, number)

last = Last()
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "run_workflow_worker", "--drain", "--quiet"])
"""


def test_signal_that_comes_while_python_ends_changes_no_exit_code(site):
    worker = subprocess.run([sys.executable, "-c", LAST_SIGNAL], cwd=ROOT, timeout=60, check=False)
    assert worker.returncode == 0


def test_terminal_sees_a_progress_bar(site):
    quick.start_many([[1]] * 5)
    ours, theirs = pty.openpty()
    arguments = [sys.executable, str(ROOT / "manage.py"), "run_workflow_worker", "--drain"]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:
        pass  # how Linux tells that the other side is closed
    os.close(ours)
    assert process.wait(20) == 0
    text = shown.decode()
    assert "\r████████████████████████ 100%" in text
    assert "\x1b[" not in text  # the state of things is no error, and not coloured like one
    assert text.rstrip().endswith("stopped: 15 succeeded, 0 failed attempts")


def test_sigterm_lets_running_handlers_finish_and_hands_the_rest_back(command):
    handles = patient.start_many(range(5))
    worker = command("--queues", "patient", "--concurrency", "2", "--prefetch", "10")
    eventually(lambda: told("began") == 2, "two handlers that begin")
    worker.terminate()
    queued = Task.objects.filter(run_id__in=[handle.id for handle in handles], status="queued")
    eventually(lambda: queued.count() == 3, "three tasks handed back")
    assert worker.popen.poll() is None
    tell("go")
    code, output = worker.end()
    assert code == 0, output
    assert told("finished") == 2
    assert sorted(handle.status for handle in handles) == ["running"] * 3 + ["succeeded"] * 2
    assert not Attempt.objects.filter(is_counted=True).exists()
    assert Worker.objects.get().stopped_at is not None


def test_second_sigterm_ends_at_once_and_hands_back_what_runs(command):
    handle = stubborn.start()
    worker = command("--queues", "stubborn", "--grace", "600")
    eventually(lambda: told("began") == 1, "a handler that begins")
    worker.terminate()
    tasks = Task.objects.filter(run_id=handle.id, status="queued")
    # again and again, for two signals at once may arrive as one
    eventually(lambda: worker.terminate() or tasks.exists(), "the task handed back")
    code, output = worker.end(10)
    assert code == 0, output
    task = Task.objects.get(run_id=handle.id)
    assert (task.status, task.failure_count) == ("queued", 0)


@pytest.mark.parametrize("more", [(), ("--processes", "2")], ids=["alone", "supervised"])
def test_ctrl_c_stops_like_sigterm_and_tells_the_shell(command, more):
    worker = command("--queues", "patient", *more)
    eventually(listeners, "a worker that listens")
    worker.popen.send_signal(signal.SIGINT)
    code, output = worker.end(10)
    assert code == 130, output
    assert "Traceback" not in output


def test_processes_share_the_work_and_end_together(command):
    handles = patient.start_many(range(4))
    worker = command("--queues", "patient", "--concurrency", "2", "--prefetch", "0", "--processes", "2")
    eventually(lambda: told("began") == 4, "four handlers that begin")
    pids = set(Worker.objects.values_list("pid", flat=True))
    assert len(pids) == 2
    assert pids == {child.pid for child in psutil.Process(worker.popen.pid).children()}
    worker.terminate()
    tell("go")
    code, output = worker.end()
    assert code == 0, output
    for handle in handles:
        testing.assert_settled(handle)
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not Worker.objects.filter(stopped_at=None).exists()


def test_killed_process_is_replaced(command):
    worker = command("--queues", "patient", "--processes", "2")
    eventually(lambda: Worker.objects.count() == 2, "two workers")
    os.kill(Worker.objects.first().pid, signal.SIGKILL)
    eventually(lambda: Worker.objects.count() == 3, "a third worker")
    worker.terminate()
    code, output = worker.end()
    assert code == 0, output
    assert "ended with code -9, starting another" in output


SUPERVISE = """
import sys
from django_workflow.worker.supervisor import Supervisor
sys.exit(Supervisor([sys.executable, "-c", "print('here', flush=True); import signal; signal.pause()"], 1).run())
"""


def test_a_process_that_is_stopped_before_it_listens_to_signals_has_ended_cleanly(site):
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout.readline() == "here\n"
    supervisor.terminate()
    assert supervisor.wait(20) == 0
    supervisor.stdout.close()


def test_processes_drain_and_end(command):
    handles = quick.start_many([[1]] * 10)
    code, output = command("--drain", "--processes", "2").end()
    assert code == 0, output
    assert all(testing.assert_settled(handle) for handle in handles)


def test_quiet_worker_says_nothing(command):
    quick.start([1])
    assert command("--drain", "--quiet").end() == (0, "")


def test_handlers_may_run_in_processes_of_their_own(command):
    handle = quick.start([1])
    code, output = command("--drain", "--executor", "process", "--concurrency", "1").end()
    assert code == 0, output
    assert testing.assert_settled(handle)["last"][0] not in (os.getpid(), Worker.objects.get().pid)


def test_changed_code_restarts_the_worker(command):
    worker = command("--queues", "patient", "--reload")
    first = eventually(Worker.objects.first, "a worker")
    os.utime(workflows.__file__)
    eventually(lambda: Worker.objects.count() == 2, "a worker with the new code")
    assert Worker.objects.get(pk=first.pk).stopped_at is not None
    worker.terminate()
    code, output = worker.end()
    assert code == 0, output
    assert "the code changed, workers restart" in output
