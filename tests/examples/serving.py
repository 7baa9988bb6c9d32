"""`run.py serve` as a process, with a PostgreSQL of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from django_workflow.contrib.embedded.launcher import Cluster
from tests.waiting import eventually

COMMAND = [sys.executable, "-m", "example_project.serve"]


class Serving:
    """The command, started and up.

    folder: of its PostgreSQL. pace: seconds that its steps about take.
    """

    def __init__(self, folder: Path, *, pace: float = 0.05) -> None:
        self.cluster = Cluster(folder)
        environ = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
        self.popen = subprocess.Popen(
            [*COMMAND, "--port", "0", "--pace", str(pace)],
            env=environ | {"DJANGO_WORKFLOW_POSTGRES": str(folder), "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        eventually(lambda: "Ctrl-C" in self.output or self.popen.poll() is not None, "it is up", seconds=90)

    def _read(self) -> None:
        for line in self.popen.stdout or ():
            self.output += line

    def found(self, pattern: str) -> str:
        """Return the first group of what it has printed."""
        match = re.search(pattern, self.output)
        assert match is not None, self.output
        return match[1]

    def password(self, name: str) -> str:
        """Return a user's password."""
        return self.found(rf"{name} +password (\S+)")

    @property
    def address(self) -> str:
        """Where the site is."""
        return self.found(r"Open +(http://127\.0\.0\.1:\d+)/")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does, and return the exit code."""
        self.popen.send_signal(number)
        code = self.popen.wait(30)
        self._reader.join(10)
        return code

    def children(self) -> list[int]:
        """Return the processes that it has told of."""
        return [int(number) for number in re.findall(r"process (\d+)", self.output)]
