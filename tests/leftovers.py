"""What tests have started ends with them, however they end.

Fixtures see to it. What an interruption keeps them from is found here by a mark in its environment, which whoever a
test starts hands on to whomever it starts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from django_workflow.contrib.embedded.launcher import Cluster
from example_project.database import is_used_by_others

MARK = "WORKFLOW_TESTS"
#: Seconds within which a process ends that is told to.
PATIENCE = 10


class Leftovers:
    """A plugin of pytest: remembers what ran before the tests, and ends what runs only because of them."""

    def __init__(self) -> None:
        os.environ[MARK] = str(os.getpid())
        self._before = {cluster.folder for cluster in clusters() if cluster.pid is not None}
        self._is_interrupted = False

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """End in order from here on: another Ctrl-C would leave running what a test has started."""
        if excinfo.errisinstance(KeyboardInterrupt):
            self._is_interrupted = True
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell a shell of Ctrl-C as all programs do."""
        if self._is_interrupted:
            session.exitstatus = 128 + signal.SIGINT

    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """End what was left, and say so."""
        for line in self.end():
            config.get_terminal_writer().line(line)

    def end(self) -> Iterator[str]:
        """End what was left, with a line about each process, and about each server that goes on."""
        spared = set()
        for cluster in clusters():
            if cluster.pid is None:
                continue
            if cluster.folder not in self._before and not is_used_by_others(cluster):
                cluster.stop()
            elif (pid := cluster.pid) is not None:
                spared.add(pid)
                yield f"PostgreSQL in {cluster.folder} goes on. Stop it with: python3 run.py stop"
        yield from end_processes(spared)


def clusters() -> list[Cluster]:
    """Return the servers of this checkout: that of a single process, and those of parallel ones."""
    if "DATABASE_URL" in os.environ:
        return []
    root = Path(__file__).parent.parent
    common = root / (os.environ.get("DJANGO_WORKFLOW_POSTGRES") or ".postgres")
    return [Cluster(folder) for folder in [common, *sorted(common.parent.glob(f"{common.name}-gw*"))]]


def end_processes(spared: set[int]) -> Iterator[str]:
    """End the processes that carry the mark of these tests, but not servers that are spared, and name them."""
    left = [process for process in marked() if not spared & {process.pid, process.ppid()}]
    for process in left:
        yield f"Left by a test, and ended now: process {process.pid}, {' '.join(process.cmdline())[:100]}"
        # PostgreSQL waits for its clients at SIGTERM
        process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, PATIENCE)
    for process in stubborn:
        process.kill()


def marked() -> list[psutil.Process]:
    """Return the processes that tests have started, and that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get(MARK) == str(os.getpid())
        except psutil.Error:  # gone, or somebody else's
            continue
        if is_ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
