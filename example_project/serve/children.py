"""Processes that end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from django_workflow.contrib.embedded.interruptions import undisturbed
from example_project.demo.output import DemoFailed, say

ROOT = Path(__file__).resolve().parent.parent.parent


class Child:
    """A Python process in a session of its own, so that Ctrl-C reaches us first; what it prints is kept.

    arguments: those of Python. grace: seconds it may take to end in order. descriptors: files it inherits.
    """

    def __init__(self, name: str, arguments: Sequence[str], *, grace: float, descriptors: Sequence[int] = ()) -> None:
        self.name = name
        self._grace = grace
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by stop
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise `DemoFailed` with its last words if it has ended."""
        if (code := self._process.poll()) is not None:
            self._output.seek(0)
            words = self._output.read().decode(errors="replace").splitlines()[-30:]
            raise DemoFailed("\n".join([f"the {self.name} ended by itself, with exit code {code}", *words]))

    def stop(self) -> None:
        """Ask it to end, wait, and end it and all it has started, whatever happens."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace)
        with suppress(ProcessLookupError):  # nothing is left of its session
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._output.close()


@contextmanager
def child(
    name: str, arguments: Sequence[str], *, grace: float, descriptors: Sequence[int] = (), about: str = ""
) -> Iterator[Child]:
    """Run a child for as long as the block takes, and say so."""
    began = time.monotonic()
    process = None
    try:
        with undisturbed():
            process = Child(name, arguments, grace=grace, descriptors=descriptors)
        say(name.capitalize(), f"process {process.pid}: {about or ' '.join(arguments)}", began)
        yield process
    finally:
        if process is not None:
            began = time.monotonic()
            process.stop()
            say(name.capitalize(), "stopped", began)
