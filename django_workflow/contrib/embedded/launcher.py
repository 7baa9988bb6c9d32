"""Starts and stops a PostgreSQL that lives in a folder.

Everything of one server is in its folder: ``data`` (the cluster), ``server.log``, ``lock``, and the unix socket, its
only way in (nothing listens on a network port, and the folder is its owner's alone, so no password is needed). Only
a folder whose path is too long for a socket has its socket under ``/tmp``.

A start goes: connect, and be done if it works → take the lock → look again → make the cluster if there is none →
clear what a crash left → start → connect until it works → create the database. So any number of processes may start
the same folder at once. The server is nobody's child, in a session of its own: it outlives the process that started
it, and Ctrl-C does not reach it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from . import processes
from .binaries import Binaries, find_binaries
from .errors import FolderNotUsable, ServerFailed
from .interruptions import undisturbed
from .privileges import claim_folder, command_prefix
from .sockets import PORT, SOCKET, socket_folder

StopMode = Literal["smart", "fast", "immediate", "kill"]

USER = "postgres"
TIMEOUT = 60.0  # seconds: a recovery after a crash on a slow disk takes a while
POLL = 0.01

SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}

SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
}

# The shell puts the server into the background and tells its pid. Not pg_ctl: it hangs on to a pipe it is given.
START_IN_BACKGROUND = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'

# libpq's errors at connection time carry no SQLSTATE, but the cluster is made with untranslated messages.
SERVER_ANSWERED = "FATAL:"
NOT_READY = "the database system is "  # starting up, shutting down, in recovery mode
NO_SUCH_DATABASE = "does not exist"

MAX_LOG_BYTES = 10_000_000
LOG_TAIL_LINES = 20


@dataclass(frozen=True)
class ConnectionParams:
    """How to reach a database of a running server."""

    host: str
    port: int
    user: str
    dbname: str

    def kwargs(self) -> dict[str, Any]:
        """Return the parameters as ``psycopg.connect`` takes them."""
        return {"host": self.host, "port": self.port, "user": self.user, "dbname": self.dbname}

    @property
    def url(self) -> str:
        """The same as an URL, with the socket's folder as the ``host`` parameter."""
        return f"postgresql://{self.user}@/{quote(self.dbname)}?host={quote(self.host)}&port={self.port}"


@dataclass(frozen=True)
class Status:
    """What is known about a cluster without starting it."""

    folder: Path
    exists: bool
    pid: int | None
    log: Path

    @property
    def is_running(self) -> bool:
        """Whether a server process serves the folder."""
        return self.pid is not None


class Cluster:
    """The PostgreSQL of one folder.

    As a context manager it is up inside the block and stopped behind it, as tests need it.

    Args:
        folder: where it lives; created at the first start.
        settings: server settings beyond the defaults, in effect from the next start; they are not remembered.
        major: the PostgreSQL version for a new folder; by default the newest installed.
    """

    def __init__(
        self, folder: Path | str, *, settings: Mapping[str, str] | None = None, major: int | None = None
    ) -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.settings = {**SERVER_SETTINGS, **(settings or {})}
        self.major = major
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.socket_folder = socket_folder(self.folder)

    def __repr__(self) -> str:
        return f"Cluster({str(self.folder)!r})"

    def __enter__(self) -> Self:
        self.ensure_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")

    @property
    def pid(self) -> int | None:
        """The server's process id, None if it does not run."""
        return self._running_pid()

    @property
    def binaries(self) -> Binaries:
        """The programs that fit the cluster: those it was made with, or those it would be made with."""
        return find_binaries(self._version() or self.major)

    def params(self, database: str = USER) -> ConnectionParams:
        """Return how to connect to a database once the server runs."""
        return ConnectionParams(host=str(self.socket_folder), port=PORT, user=USER, dbname=database)

    def connect(self, database: str = USER, **kwargs: Any) -> psycopg.Connection[Any]:
        """Connect to a database of the running server; keywords go to ``psycopg.connect``."""
        return psycopg.connect(**{**self.params(database).kwargs(), **kwargs})

    def status(self) -> Status:
        """Tell whether the folder holds a cluster and whether it runs."""
        return Status(self.folder, self._version() is not None, self.pid, self.log)

    def ensure_running(self, database: str = USER) -> ConnectionParams:
        """Start the server unless it runs, and create the database unless it exists.

        Returns:
            How to connect to the database.

        Raises:
            EmbeddedPostgresError: with the reason and, if a program failed, the end of its log.
        """
        if self._probe(database) is None:
            return self.params(database)
        claim_folder(self.folder)
        with self._lock():
            binaries = self.binaries
            prefix = command_prefix(self.folder, binaries.initdb)
            if self._version() is None:
                self._make_cluster(prefix, binaries)
            self._start(prefix, binaries)
            self._create_database(database)
        return self.params(database)

    def stop(self, mode: StopMode = "fast") -> bool:
        """Stop the server and wait until all its processes are gone.

        Args:
            mode: ``smart`` waits for clients to leave, ``fast`` disconnects them, ``immediate`` also skips the
                closing checkpoint, ``kill`` is a crash.

        Returns:
            False if it did not run.

        Raises:
            ServerFailed: it did not end in time.
        """
        if not self.folder.is_dir():
            return False
        with self._lock():
            return self._stop(mode)

    def restart(self, mode: StopMode = "fast") -> ConnectionParams:
        """Stop the server if it runs, and start it."""
        self.stop(mode)
        return self.ensure_running()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FolderNotUsable(self.folder, error.strerror or str(error)) from error
        try:
            self._hand_over(self.folder / "lock")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _version(self) -> int | None:
        try:
            return int((self.data / "PG_VERSION").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise FolderNotUsable(self.folder, "it belongs to somebody else") from error

    def _hand_over(self, path: Path) -> None:
        # Root may look after the folder of a normal user, who needs the files later.
        if os.geteuid() == 0:
            os.chown(path, self._owner(), -1)

    def _owner(self) -> int:
        return self.folder.stat().st_uid

    def _make_cluster(self, prefix: list[str], binaries: Binaries) -> None:
        # Made aside and renamed: a folder with a name is a whole one, whenever an earlier attempt was killed.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        (self.folder / ".gitignore").write_text("*\n")
        self._hand_over(self.folder / ".gitignore")
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        if binaries.major < 17:
            locale = ["--locale=C.UTF-8"]
        command = [*prefix, str(binaries.initdb), "--pgdata", str(unfinished), "--username", USER, "--auth=trust"]
        # Syncing the new files doubles the time of a cold start, for a folder that has nothing to lose yet.
        options = ["--encoding=UTF8", *locale, "--lc-messages=C", "--no-sync"]
        made = subprocess.run(
            [*command, *options],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            raise ServerFailed(f"initdb failed for {self.folder}:", made.stdout + made.stderr)
        unfinished.rename(self.data)

    def _start(self, prefix: list[str], binaries: Binaries) -> None:
        launched: int | None = None

        def is_up() -> bool:
            nonlocal launched
            problem = self._probe(USER)
            if problem is None or (SERVER_ANSWERED in problem and NOT_READY not in problem):
                return True
            if launched is None and self._running_pid() is None:
                self._clear_crash()
                with undisturbed():
                    launched = self._launch(prefix, binaries)
            elif launched is not None and not processes.is_alive(launched):
                raise ServerFailed(f"PostgreSQL in {self.folder} ended while starting:", self._log_tail())
            return False

        try:
            has_started = _wait_for(is_up)
        except BaseException:
            # whoever else wants it waits for the lock and starts it himself
            if launched is not None:
                self._take_back(launched)
            raise
        if not has_started:
            raise ServerFailed(f"PostgreSQL in {self.folder} did not start in {TIMEOUT:.0f} s:", self._log_tail())

    def _take_back(self, pid: int) -> None:
        """End a server that may not have come to its signal handlers, or to its file with the process id."""
        # the shell starts it with SIGINT ignored, so that it is SIGTERM that ends it before it has handlers
        for number in (signal.SIGTERM, SIGNALS["fast"]):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        _wait_for(lambda: not processes.is_alive(pid) and not processes.processes_in(self.data))

    def _launch(self, prefix: list[str], binaries: Binaries) -> int:
        self._make_socket_folder()
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.rename(self.log.with_suffix(".log.old"))
        quoted = str(self.socket_folder).replace('"', '""')  # the setting is a list of names
        settings = {**self.settings, "unix_socket_directories": f'"{quoted}"'}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = [str(binaries.postgres), "-D", str(self.data), *options]
        launched = subprocess.run(
            [*prefix, "/bin/sh", "-c", START_IN_BACKGROUND, "sh", str(self.log), *server],
            env=_environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            start_new_session=True,
        )
        return int(launched.stdout)

    def _make_socket_folder(self) -> None:
        if self.socket_folder == self.folder:
            return
        self.socket_folder.mkdir(mode=0o700, exist_ok=True)
        # Anybody can create a folder with this name under /tmp, or a link: then this fails, or the owner differs.
        if self.socket_folder.is_symlink() or self.socket_folder.stat().st_uid not in {os.geteuid(), self._owner()}:
            raise FolderNotUsable(self.socket_folder, "somebody else has made it")
        self._hand_over(self.socket_folder)

    def _create_database(self, database: str) -> None:
        problem = self._probe(database)
        if problem is None:
            return
        if NO_SUCH_DATABASE not in problem:
            raise ServerFailed(f"PostgreSQL in {self.folder} refuses connections: {problem}", self._log_tail())
        with self.connect(autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def _stop(self, mode: StopMode) -> bool:
        pid = self._running_pid()
        if pid is None:
            return False
        os.kill(pid, SIGNALS[mode])
        # After a crash the backends notice by themselves; a server started before that refuses to run.
        if not _wait_for(lambda: not processes.is_alive(pid) and not processes.processes_in(self.data)):
            raise ServerFailed(f"PostgreSQL in {self.folder} did not stop in {TIMEOUT:.0f} s:", self._log_tail())
        return True

    def _running_pid(self) -> int | None:
        pid = self._recorded_pid()
        if pid is None or not processes.is_alive(pid) or processes.works_in(pid, self.data) is False:
            return None  # the last: the number now belongs to another program
        return pid

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _clear_crash(self) -> None:
        if not _wait_for(lambda: not processes.processes_in(self.data)):
            raise ServerFailed(f"Processes of a crashed PostgreSQL still run in {self.folder}:", self._log_tail())
        # PostgreSQL clears these itself, unless the number in them has been reused or is a zombie's (*seen*).
        for left_over in (self.data / "postmaster.pid", self.socket_folder / f"{SOCKET}.lock"):
            left_over.unlink(missing_ok=True)

    def _probe(self, database: str) -> str | None:
        try:
            self.connect(database, connect_timeout=10).close()
        except psycopg.OperationalError as error:
            return str(error)
        return None

    def _log_tail(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join([f"The end of {self.log}:", *lines[-LOG_TAIL_LINES:]])


def _environment() -> dict[str, str]:
    # PGPORT, PGDATA, PGTZ and their like would change the server; the locale its messages.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}


def _wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def ensure_running(folder: Path | str, database: str = USER) -> ConnectionParams:
    """Start the PostgreSQL of a folder unless it runs, and return how to connect to the database."""
    return Cluster(folder).ensure_running(database)


def stop(folder: Path | str, mode: StopMode = "fast") -> bool:
    """Stop the PostgreSQL of a folder; False if it did not run."""
    return Cluster(folder).stop(mode)


def status(folder: Path | str) -> Status:
    """Tell whether a folder holds a cluster and whether it runs, without starting it."""
    return Cluster(folder).status()
