"""A site on a PostgreSQL of its own, whose workers and server a test may kill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from django_workflow.contrib.embedded.launcher import Cluster
from tests.races.effects import CREATE_EFFECTS, Effects
from tests.races.workers import ROOT, SITE, ProcessWorker

DATABASE = "site"

UNSETTLED = (
    "SELECT count(*) FROM django_workflow_run WHERE status NOT IN ('succeeded', 'failed', 'cancelled', 'timed_out')"
)
LIVE_ROWS = """
    SELECT (SELECT count(*) FROM django_workflow_task WHERE status IN ('queued', 'held', 'running', 'suspended')),
           (SELECT count(*) FROM django_workflow_steprun WHERE status IN ('waiting', 'running')),
           (SELECT count(*) FROM django_workflow_run WHERE open_steps <> 0),
           (SELECT count(*) FROM pgmq.q_wfq_default)
"""


class Site:
    """The site of `tests.chaos.site`, migrated and empty."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Cluster(folder)
        self.url = self.cluster.ensure_running(DATABASE).url
        self.workers: list[ProcessWorker] = []
        self._connection: psycopg.Connection[Any] | None = None
        self._run("-m", "django", "migrate", "--verbosity", "0")
        self.rows(CREATE_EFFECTS)
        self.effects = Effects(self.rows)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": SITE, "DATABASE_URL": self.url},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return done.stdout

    def start(self, flow: str, count: int) -> list[str]:
        """Start runs of a flow and return their ids."""
        return self._run("-m", "tests.chaos.site", flow, str(count)).split()

    def worker(self, *arguments: str, **environ: str) -> ProcessWorker:
        """Start a worker process."""
        self.workers.append(ProcessWorker(self.url, *arguments, **environ))
        return self.workers[-1]

    def rows(self, sql: str, params: Sequence[Any] | None = None) -> list[Any]:
        """Execute one statement, over a new connection where the server was restarted."""
        try:
            return self._execute(sql, params)
        except psycopg.OperationalError:
            self._connection = None
            return self._execute(sql, params)

    def _execute(self, sql: str, params: Sequence[Any] | None) -> list[Any]:
        if self._connection is None:
            self._connection = self.cluster.connect(DATABASE, autocommit=True)
        cursor = self._connection.execute(sql, params)
        return cursor.fetchall() if cursor.description else []

    def unsettled(self) -> int:
        """Return how many runs are not settled."""
        return int(self.rows(UNSETTLED)[0][0])

    def statuses(self) -> dict[str, int]:
        """Return how many runs have which status."""
        return dict(self.rows("SELECT status, count(*) FROM django_workflow_run GROUP BY 1"))

    def live_rows(self) -> tuple[int, ...]:
        """Return what is left open: tasks, step runs, runs with open steps, messages."""
        return tuple(self.rows(LIVE_ROWS)[0])

    def close(self) -> None:
        """End the workers and the server."""
        for worker in self.workers:
            worker.end()
        if self._connection is not None:
            self._connection.close()
        self.cluster.stop("immediate")


@contextmanager
def site() -> Iterator[Site]:
    """Make a site in a temporary folder, and remove it whatever happens."""
    # a short path: that of a socket is limited
    folder = Path(tempfile.mkdtemp(prefix="wf-"))
    folder.chmod(0o755)
    made: Site | None = None
    try:
        made = Site(folder / "pg")
        yield made
    finally:
        if made is not None:
            made.close()
        else:
            Cluster(folder / "pg").stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)
