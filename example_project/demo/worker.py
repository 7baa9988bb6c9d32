"""A real worker process, for as long as the demonstration takes."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from django_workflow.contrib.embedded.interruptions import undisturbed
from example_project.demo.output import DemoFailed, say

ROOT = Path(__file__).resolve().parent.parent.parent
#: How long the worker may finish what it does when it is told to stop.
GRACE = 10


@dataclass
class WorkerProcess:
    """A worker, and the file with what it says."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def check(self) -> None:
        """Raise `DemoFailed` if the worker has ended."""
        code = self.process.poll()
        if code is not None:
            self.fail(f"the worker ended by itself, with exit code {code}")

    def fail(self, problem: str) -> NoReturn:
        """Raise `DemoFailed` with a problem and the last words of the worker."""
        self.log.seek(0)
        words = self.log.read().decode(errors="replace").splitlines()[-30:]
        raise DemoFailed("\n".join([f"{problem}. Its last words:", *words] if words else [problem]))

    def stop(self) -> int:
        """Send SIGTERM, wait until the worker has finished what it does, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(GRACE + 5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def worker_process() -> Iterator[WorkerProcess]:
    """Run a worker as it runs in production, a process of its own, for as long as the block takes."""
    arguments = ["run_workflow_worker", "--grace", str(GRACE), "--quiet"]
    began = time.monotonic()
    with tempfile.TemporaryFile() as log:
        worker = None
        try:
            with undisturbed():
                worker = WorkerProcess(_start(arguments, log), log)
            say("Worker", f"process {worker.process.pid}: manage.py {' '.join(arguments)}", began)
            yield worker
        finally:
            began = time.monotonic()
            code = worker.stop() if worker is not None else 0
        # -SIGTERM: it had not come to its signal handlers yet, because another worker was quicker.
        if code not in (0, -signal.SIGTERM):
            worker.fail(f"the worker ended with exit code {code} after SIGTERM")
        say("Worker", f"stopped by SIGTERM, exit code {code}", began)


def _start(arguments: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the demo, which stops the worker in order
    )
