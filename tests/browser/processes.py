"""The processes behind the pages: a site on a port of its own, and workers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A Python process of the site of `tests.browser.site`; what it prints is kept."""

    def __init__(self, arguments: list[str], environ: dict[str, str], descriptors: tuple[int, ...] = ()) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  read until the end
        self._popen = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
        )

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def printed(self) -> str:
        """Return what it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def stop(self, seconds: float = 10.0) -> None:
        """Ask it to end; kill it where it does not."""
        if self.is_alive():
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class SiteProcess(Process):
    """An ASGI server on a free port of this machine."""

    def __init__(self, environ: dict[str, str]) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            self.port = listener.getsockname()[1]
            super().__init__(
                ["-m", "example_project.serve.site", str(listener.fileno())], environ, (listener.fileno(),)
            )
        self.address = f"http://127.0.0.1:{self.port}"
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + 30
        while self.is_alive() and time.monotonic() < until:
            try:
                with urlopen(f"{self.address}/login/", timeout=5):
                    return
            except HTTPError as error:
                raise AssertionError(f"the site answers {error.code}:\n{self.printed()}") from None
            except (URLError, OSError):
                time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the site does not answer:\n{self.printed()}")


class Worker(Process):
    """`manage.py run_workflow_worker`."""

    def __init__(self, environ: dict[str, str], *arguments: str) -> None:
        super().__init__(["manage.py", "run_workflow_worker", "--quiet", "--grace", "1", *arguments], environ)
