"""Starting and stopping an embedded PostgreSQL, with what may come in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from django_workflow.contrib.embedded import binaries, launcher, processes
from django_workflow.contrib.embedded.errors import BinariesNotFound, FolderNotUsable, ServerFailed
from django_workflow.contrib.embedded.launcher import Cluster

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "django_workflow.contrib.embedded"]
STARTED = "starting PostgreSQL"


def start_at_once(folder: Path, count: int) -> list[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    starters = [subprocess.Popen([*COMMAND, "start", str(folder)], **pipes) for _ in range(count)]
    answers = [starter.communicate(timeout=120) for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * count, answers
    return [answer for answer, _ in answers]


def test_first_start_makes_the_cluster_and_the_database(cluster):
    params = cluster.ensure_running("orders")
    with psycopg.connect(**params.kwargs()) as connection:
        assert connection.info.dbname == "orders"
    assert cluster.status().is_running
    assert cluster.status().exists


def test_url_leads_to_the_database(cluster):
    with psycopg.connect(cluster.ensure_running("orders").url) as connection:
        assert connection.info.dbname == "orders"


def test_database_may_have_any_name(cluster):
    name = 'Größe "x" y'
    with psycopg.connect(**cluster.ensure_running(name).kwargs()) as connection:
        assert connection.info.dbname == name


def test_second_start_changes_nothing(cluster):
    cluster.ensure_running()
    pid = cluster.pid
    cluster.ensure_running()
    assert cluster.pid == pid


def test_durable_and_closed_to_the_network(cluster):
    cluster.ensure_running()
    with cluster.connect() as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()[0]
            for name in ("listen_addresses", "max_connections", "fsync", "server_encoding", "unix_socket_permissions")
        }
    assert shown == {
        "listen_addresses": "",
        "max_connections": "200",
        "fsync": "on",
        "server_encoding": "UTF8",
        "unix_socket_permissions": "0700",
    }
    assert cluster.folder.stat().st_mode & 0o077 == 0


def test_five_processes_start_an_empty_folder_at_once(cluster):
    answers = start_at_once(cluster.folder, 5)
    assert set(answers) == {f"{cluster.params().url}\n"}
    assert cluster.log.read_text().count(STARTED) == 1


def test_five_processes_start_a_crashed_cluster_at_once(cluster):
    cluster.ensure_running()
    cluster.stop("kill")
    start_at_once(cluster.folder, 5)
    assert cluster.log.read_text().count(STARTED) == 2


def test_path_too_long_for_a_socket(folder):
    cluster = Cluster(folder / ("deep" * 30))
    assert cluster.socket_folder != cluster.folder
    with cluster, cluster.connect() as connection:
        assert connection.info.host == str(cluster.socket_folder)
    cluster.socket_folder.rmdir()


def test_path_with_spaces_quotes_and_commas(folder):
    with Cluster(folder / """a 'b' "c" $d""") as cluster, cluster.connect() as connection:
        assert connection.info.host == str(cluster.folder)
    with Cluster(folder / "a,b") as cluster, cluster.connect() as connection:
        assert connection.info.host == str(cluster.socket_folder) != str(cluster.folder)
    cluster.socket_folder.rmdir()


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_committed_data_outlives_every_kind_of_stop(cluster, mode):
    cluster.ensure_running()
    with cluster.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        before = cluster.pid
        cluster.restart(mode)  # with a client connected
    with cluster.connect() as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert cluster.pid != before


def test_stop_tells_whether_there_was_something_to_stop(cluster):
    assert cluster.stop() is False
    cluster.ensure_running()
    assert cluster.stop() is True
    assert cluster.stop() is False
    assert cluster.pid is None
    assert cluster.status().exists


def test_pid_file_of_a_crash_may_name_a_living_process_that_is_not_postgresql(cluster):
    cluster.ensure_running()
    cluster.stop("kill")
    pid_file = cluster.data / "postmaster.pid"
    _, rest = pid_file.read_text().split("\n", 1)
    pid_file.write_text(f"{os.getpid()}\n{rest}")
    assert cluster.pid is None
    cluster.ensure_running()
    assert cluster.pid not in (None, os.getpid())


def test_unfinished_cluster_of_a_killed_start_is_made_anew(cluster):
    unfinished = cluster.folder / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    cluster.ensure_running()
    assert not unfinished.exists()


def test_server_outlives_its_starter_and_the_starters_ctrl_c(cluster):
    code = (
        # a shell starts background jobs with SIGINT ignored, and its children inherit that
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from django_workflow.contrib.embedded.launcher import ensure_running; "
        f"ensure_running({str(cluster.folder)!r}); print('up', flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with starter:
        assert starter.stdout.readline() == b"up\n"
        os.killpg(starter.pid, signal.SIGINT)
        starter.wait(timeout=30)
    assert starter.returncode != 0
    assert os.getsid(cluster.pid) != starter.pid
    with cluster.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("moment", ["_launch", "_probe"])
def test_ctrl_c_during_a_start_leaves_no_server(cluster, monkeypatch, moment):
    before = getattr(Cluster, moment)
    launched = []

    def interrupted(self, *arguments):
        done = before(self, *arguments)
        if moment == "_launch":
            launched.append(done)
        if launched or processes.processes_in(self.data):
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(Cluster, moment, interrupted)
    before_all = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before_all)
    assert cluster.pid is None
    assert processes.processes_in(cluster.data) == []
    assert not any(processes.is_alive(pid) for pid in launched)


def test_surroundings_do_not_change_the_server(cluster, monkeypatch):
    monkeypatch.setenv("PGPORT", "7777")
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    cluster.ensure_running()
    with cluster.connect() as connection:
        assert connection.execute("SHOW lc_messages").fetchone() == ("C",)
        assert connection.execute("SELECT upper('ä'), 'Z' < 'a'").fetchone() == ("Ä", True)


def test_folder_keeps_the_version_it_was_made_with(folder):
    with Cluster(folder, major=16) as cluster, cluster.connect() as connection:
        assert connection.info.server_version // 10000 == 16
    with Cluster(folder) as cluster, cluster.connect() as connection:
        assert connection.info.server_version // 10000 == 16


def test_settings_of_a_test_take_effect(folder):
    with Cluster(folder, settings={"work_mem": "7MB"}) as cluster, cluster.connect() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)


def test_missing_binaries_name_the_two_ways_out(cluster, monkeypatch):
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_package")
    with pytest.raises(BinariesNotFound, match=r"pip install .*DATABASE_URL") as caught:
        cluster.ensure_running()
    assert caught.value.major is None


def test_unknown_version_is_named(folder):
    with pytest.raises(BinariesNotFound, match="PostgreSQL 9"):
        Cluster(folder, major=9).ensure_running()


def test_failing_start_shows_the_end_of_the_log(folder):
    with pytest.raises(ServerFailed, match='invalid value for parameter "max_connections": "many"'):
        Cluster(folder, settings={"max_connections": "many"}).ensure_running()


def test_failing_initdb_shows_what_it_said(cluster, monkeypatch):
    monkeypatch.setattr(launcher, "USER", "pg_reserved")
    with pytest.raises(ServerFailed, match='superuser name "pg_reserved" is disallowed'):
        cluster.ensure_running()


def test_folder_that_is_a_file_is_refused(folder):
    folder.write_text("")
    with pytest.raises(FolderNotUsable, match="DATABASE_URL"):
        Cluster(folder).ensure_running()


def test_full_server_says_so_at_once(folder):
    settings = {"max_connections": "2", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    full = pytest.raises(ServerFailed, match="too many clients")
    with Cluster(folder, settings=settings) as cluster, cluster.connect(), cluster.connect(), full:
        cluster.ensure_running()


def test_command_line(cluster):
    def run(word: str) -> tuple[int, str]:
        done = subprocess.run([*COMMAND, word, str(cluster.folder)], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run("status")[0] == 3
    assert run("start") == (0, f"{cluster.params().url}\n")
    assert f"runs as process {cluster.pid}" in run("status")[1]
    assert "is stopped" in run("stop")[1]
    assert "did not run" in run("stop")[1]
