"""A site with everything behind it, for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.processes import SiteProcess, Worker
from tests.browser.site.gates import VARIABLE, Gates

SETTINGS = "tests.browser.site.settings"


class House:
    """Processes that use one database: a site, and workers where a test wants them."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._environ = {"DJANGO_SETTINGS_MODULE": SETTINGS, "DATABASE_URL": database_url, VARIABLE: str(folder)}
        self.gates = Gates(folder)
        self.workers: list[Worker] = []
        self.site = SiteProcess(self._environ)

    @property
    def address(self) -> str:
        """Where the site is."""
        return self.site.address

    def worker(self, *arguments: str) -> Worker:
        """Start a worker; arguments are those of `run_workflow_worker`."""
        self.workers.append(Worker(self._environ, *arguments))
        return self.workers[-1]

    def close(self) -> None:
        """End all processes."""
        for process in [*self.workers, self.site]:
            process.stop()


@contextmanager
def house(database_url: str, folder: Path) -> Iterator[House]:
    """Keep a house for as long as the block takes; a worker that ended by itself fails the test."""
    made = House(database_url, folder)
    try:
        yield made
        for process in [*made.workers, made.site]:
            assert process.is_alive(), f"a process ended by itself:\n{process.printed()}"
    finally:
        made.close()
