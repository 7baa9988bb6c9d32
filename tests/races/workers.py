"""Workers for the races: the real thing, in threads of this process or in processes that can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from django_workflow.worker.options import WorkerOptions

ROOT = Path(__file__).resolve().parents[2]
SITE = "tests.chaos.site.settings"


def database_url(settings: dict[str, Any]) -> str:
    """Return the URL of the database that a process with these settings is connected to."""
    user, name, host = (quote(str(settings[key]), safe="") for key in ("USER", "NAME", "HOST"))
    return f"postgresql://{user}@/{name}?host={host}&port={settings['PORT']}"


class ThreadWorker:
    """A whole worker, with heartbeats, listener and keeper, in a thread."""

    def __init__(self, options: WorkerOptions) -> None:
        from django_workflow.worker.process import WorkerProcess  # whoever has processes alone needs no Django

        self.process = WorkerProcess(options)
        self.dispatcher = self.process.dispatcher
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.process.run()
        except Exception as error:  # a test looks at it
            self.error = error

    def is_alive(self) -> bool:
        return self.thread.is_alive()

    def stop(self) -> None:
        """Tell it to stop at once."""
        self.process.stop()
        self.process.stop()

    def end(self) -> None:
        """Stop at once and wait until all threads and connections are gone."""
        self.stop()
        self.thread.join(20.0)
        assert not self.thread.is_alive(), "a worker did not stop"


class ProcessWorker:
    """A whole worker in a process of its own."""

    def __init__(self, url: str, *arguments: str, **environ: str) -> None:
        self.created_at = datetime.now(UTC)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "django", "run_workflow_worker", "--quiet", *arguments],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": SITE, "DATABASE_URL": url} | environ,
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def is_alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """`kill -9`."""
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> None:
        """Ask for a clean stop."""
        self.popen.send_signal(signal.SIGTERM)

    def exit_code(self, seconds: float = 15.0) -> int:
        """Wait for the end of the process and return its code."""
        return self.popen.wait(seconds)

    def stop(self) -> None:
        """Kill it if it still runs."""
        self.end()

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.is_alive():
            self.kill()


class Workers:
    """All workers of one test."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._all: list[ThreadWorker | ProcessWorker] = []

    def thread(self, **options: Any) -> ThreadWorker:
        """Start a worker in a thread; options are those of `WorkerOptions`."""
        from django_workflow.worker.options import WorkerOptions

        worker = ThreadWorker(WorkerOptions(**options))
        self._all.append(worker)
        return worker

    def process(self, *arguments: str, **environ: str) -> ProcessWorker:
        """Start a worker in a process; arguments are those of `run_workflow_worker`."""
        worker = ProcessWorker(self._url, *arguments, **environ)
        self._all.append(worker)
        return worker

    def end(self) -> None:
        """End them all."""
        for worker in self._all:
            worker.stop()
        for worker in self._all:
            worker.end()
