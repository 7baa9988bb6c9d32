"""The servers of a benchmark: one PostgreSQL for everybody, and one Redis for Celery."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from django_workflow.contrib.embedded.launcher import Cluster

from .contenders import SCRATCH


class Postgres:
    """A running benchmark cluster with PostgreSQL's default settings: durable, and with its default buffers."""

    def __init__(self, host: str, user: str, log: Path) -> None:
        self.host = host
        self.user = user
        self.log = log

    def environment(self, database: str) -> dict[str, str]:
        """What libpq, asyncpg and the settings of the benchmark's site read."""
        return {"PGHOST": self.host, "PGUSER": self.user, "PGDATABASE": database}

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """An autocommit connection."""
        return psycopg.connect(host=self.host, user=self.user, dbname=database, autocommit=True)

    def execute(self, query: str, database: str = "postgres") -> None:
        """Run one statement."""
        with self.connect(database) as connection:
            connection.execute(query)  # type: ignore[arg-type]  # constants of this package

    def fetch(self, query: str, database: str = "postgres") -> Any:
        """The first row of a query."""
        with self.connect(database) as connection:
            return connection.execute(query).fetchone()  # type: ignore[arg-type]

    def drop(self, database: str) -> None:
        """Drop a database if it is there, whoever is connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def create(self, database: str, template: str = "template0") -> None:
        """Make a database anew, as a copy of another one."""
        self.drop(database)
        names = sql.Identifier(database), sql.Identifier(template)
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))

    @contextmanager
    def configured(self, **settings: str) -> Iterator[None]:
        """Run a block under other server settings."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            connection.execute("SELECT pg_reload_conf()")
        # The reload is a signal: sessions see it a moment later.
        time.sleep(0.3)
        try:
            yield
        finally:
            with self.connect() as connection:
                for name in settings:
                    connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
                connection.execute("SELECT pg_reload_conf()")
            time.sleep(0.3)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start the benchmark cluster for a block; its folder is kept for the next time."""
    cluster = Cluster(SCRATCH / "postgres")
    server = cluster.ensure_running()
    try:
        yield Postgres(server.host, server.user, cluster.log)
    finally:
        cluster.stop("fast")


@contextmanager
def redis_server() -> Iterator[Path]:
    """Start a Redis without persistence on a socket in a temporary folder; end it by its process."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("Celery needs redis-server: apt-get install redis-server (it need not run as a service).")
    folder = Path(tempfile.mkdtemp(prefix="perf-redis-"))
    path = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", "", "--appendonly", "no"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_for_socket(path, process)
        yield path
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_socket(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server accepts connections on its socket."""
    for _ in range(200):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                return probe.connect(str(path))
            except OSError:
                if process.poll() is not None:
                    break
        time.sleep(0.05)
    raise SystemExit(f"redis-server did not start: {(path.parent / 'log').read_text()[-500:]}")
