"""Where a round is played: a fresh database, a client and a worker process of one contender."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .contenders import HERE, Contender
from .servers import Postgres, redis_server

CONCURRENCY = 16
STOP_TIMEOUT = 15.0
WAIT_TIMEOUT = 120.0
WAIT_SLICE = 2.0


class RoundFailed(Exception):
    """A contender's process failed; the message ends with what it wrote."""


@dataclass
class Entry:
    """One contender on the stage: its client is running, its worker is started on request."""

    contender: Contender
    environment: dict[str, str]
    folder: Path
    database: str
    client: subprocess.Popen[str]
    process: subprocess.Popen[bytes] | None = None

    def ask(self, do: str, **arguments: Any) -> Any:
        """Send one request to the client and return its answer."""
        assert self.client.stdin
        assert self.client.stdout
        self.client.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.client.stdin.flush()
        line = self.client.stdout.readline()
        reply = json.loads(line) if line else {"error": "its client ended"}
        if "error" in reply:
            raise RoundFailed(f"{self.contender.name}: {do}: {reply['error']}\n{self.log()}")
        return reply["ok"]

    def wait(self, timeout: float = WAIT_TIMEOUT) -> float:
        """Wait until all runs are stored as finished; return when that was seen."""
        for _ in range(int(timeout / WAIT_SLICE)):
            if (seen := self.ask("wait", timeout=WAIT_SLICE)) is not None:
                return float(seen)
            if self.process is not None and self.process.poll() is not None:
                raise RoundFailed(f"{self.contender.name}: its worker ended\n{self.log()}")
        raise RoundFailed(f"{self.contender.name}: {self.ask('count')} succeeded in {timeout:.0f} s\n{self.log()}")

    def began(self) -> float:
        """When the first handler of any worker process began."""
        return min(float(path.read_text()) for path in self.folder.glob("begin-*"))

    def log(self) -> str:
        """The end of what client and worker wrote."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    @contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run one worker process for a block; a group of its own, so that its children end with it."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.contender.python(), str(self.contender.path), "work"],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield self.process
        finally:
            stop_group(self.process)


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Ask a worker to end; end its whole group if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass
class Stage:
    """The servers of this run of benchmarks and the databases made so far."""

    postgres: Postgres
    redis: Path | None = None
    prepared: set[str] = field(default_factory=set)

    def environment(self, contender: Contender, database: str, folder: Path) -> dict[str, str]:
        """The environment of all processes of a contender."""
        return {
            **os.environ,
            **contender.environment,
            **self.postgres.environment(database),
            "PERF_MARKS": str(folder),
            "PERF_CONCURRENCY": str(CONCURRENCY),
            "PERF_REDIS": str(self.redis or ""),
        }

    def template(self, contender: Contender) -> str:
        """The name of a database with the contender's schema and nothing in it; made on first use."""
        name = f"perf_{contender.slug}_template"
        if name not in self.prepared:
            self.postgres.create(name)
            with tempfile.TemporaryDirectory(prefix="perf-") as folder:
                self.run_setup(contender, self.environment(contender, name, Path(folder)))
            self.prepared.add(name)
        return name

    def run_setup(self, contender: Contender, environment: Mapping[str, str]) -> None:
        """Run the contender's `setup` role."""
        command = [contender.python(), str(contender.path), "setup"]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=HERE, check=False)
        if result.returncode:
            raise RoundFailed(f"{contender.name}: setup failed\n{result.stderr[-3000:]}")

    @contextmanager
    def enter(self, contender: Contender, database: str = "", **environment: str) -> Iterator[Entry]:
        """Put a contender on the stage, with a fresh database unless one is named."""
        with tempfile.TemporaryDirectory(prefix="perf-") as name:
            folder = Path(name)
            target = database or self.template(contender).removesuffix("_template")
            variables = {**self.environment(contender, target, folder), **environment}
            if contender.uses_redis:
                self.run_setup(contender, variables)
            elif not database:
                self.postgres.create(target, template=self.template(contender))
            with (folder / "log").open("ab") as log:
                client = subprocess.Popen(
                    [contender.python(), str(contender.path), "client"],
                    env=variables,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                )
            with client:
                yield Entry(contender, variables, folder, target, client)

    def settle_statistics(self, entry: Entry) -> None:
        """Give the planner its statistics, as autovacuum does for every database that is older than a minute."""
        if not entry.contender.uses_redis:
            self.postgres.execute("ANALYZE", entry.database)


@contextmanager
def open_stage(postgres: Postgres, contenders: list[Contender]) -> Iterator[Stage]:
    """A stage with the servers that these contenders need."""
    if any(contender.uses_redis for contender in contenders):
        with redis_server() as redis:
            yield Stage(postgres, redis)
    else:
        yield Stage(postgres)
