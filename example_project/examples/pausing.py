"""Pausing a long audit in the middle, and resuming it.

The audit reads every file of every installed package and compares it with the checksum that was listed
when it was installed. A worker does the work, in a process of its own. After the first packages the run
is paused: what is being checked is finished, nothing new starts. Resumed, it goes on where it was.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django_workflow import Flow, RunHandle, get_run_status
from django_workflow.models import Task
from django_workflow.statuses import RUNNING, SUCCEEDED
from example_project.audit.packages import find_packages
from example_project.demo.output import DemoFailed
from example_project.demo.worker import WorkerProcess, worker_process

#: Packages after which the run is paused.
ENOUGH = 10
#: Seconds that are watched while it is paused.
WATCHED = 2.0
#: Seconds after which something is wrong.
PATIENCE = 60.0

file_audit = Flow("file_audit", title="Audit of the installed files")


@file_audit.step
def packages() -> list[str]:
    """List what is installed."""
    return find_packages()[0]


@file_audit.map(over="packages", max_parallel=2)
def check(item: str) -> dict[str, int]:
    """Read all files of one package and count those that are not as they were installed."""
    counts = {"checked": 0, "changed": 0, "missing": 0}
    for file in importlib.metadata.distribution(item).files or ():
        path = Path(file.locate())
        if file.hash is None or file.hash.mode not in hashlib.algorithms_guaranteed:
            continue
        if not path.is_file():
            counts["missing"] += 1
            continue
        found = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, path.read_bytes()).digest())
        counts["checked"] += 1
        counts["changed"] += found.rstrip(b"=").decode() != file.hash.value
    return counts


@file_audit.step
def summary(packages: list[str], check: list[dict[str, int]]) -> dict[str, Any]:
    """Add them up, and name the packages with files that are not as they were."""
    total = {name: sum(counts[name] for counts in check) for name in ("checked", "changed", "missing")}
    differing = [name for name, counts in zip(packages, check, strict=True) if counts["changed"] or counts["missing"]]
    return total | {"packages": len(packages), "differing": differing}


def run(say: Callable[[str], object]) -> None:
    """Start the audit on a worker, pause it, see that nothing starts, resume it."""
    with worker_process() as worker:
        handle = file_audit.start(by="the example")
        say(f"Started run {handle.id}.")
        _until(worker, lambda: _checked(handle) >= ENOUGH, f"{ENOUGH} packages are checked")

        handle.pause(reason="to show it", by="the example")
        say(f"Paused it: {_told(handle)}")
        _until(worker, lambda: not _tasks(handle).filter(status=RUNNING).exists(), "what was running is finished")
        before = _checked(handle)
        say(f"What was running has finished: {_told(handle)}")
        time.sleep(WATCHED)
        if _checked(handle) != before:
            raise DemoFailed("packages were checked while the run was paused")
        say(f"{WATCHED:g} seconds later: {_told(handle)}")

        handle.resume(by="the example")
        result = handle.wait(PATIENCE).raise_for_status()
        say(f"Resumed it: {_told(handle)}")
    found = result["summary"]
    say(f"{found['checked']:,} files of {found['packages']} packages are read; not as they were installed:")
    say(f"  {found['changed']} changed, {found['missing']} missing ({', '.join(found['differing']) or 'none'})")
    say("From the shell: manage.py workflow pause RUN, manage.py workflow resume RUN")


def _tasks(handle: RunHandle) -> Any:
    return Task.objects.filter(step_run__run=handle.id, step_run__step="check")


def _checked(handle: RunHandle) -> int:
    count: int = _tasks(handle).filter(status=SUCCEEDED).count()
    return count


def _told(handle: RunHandle) -> str:
    return f"{get_run_status(handle).status}, {_checked(handle)} of {_tasks(handle).count()} packages checked."


def _until(worker: WorkerProcess, condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; raises `DemoFailed` if the worker ends or takes too long."""
    until = time.monotonic() + PATIENCE
    while not condition():
        worker.check()
        if time.monotonic() > until:
            worker.fail(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.01)
