"""Whose files and processes an embedded PostgreSQL's are: root's, a normal user's, somebody else's."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import subprocess
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from django_workflow.contrib.embedded import privileges
from django_workflow.contrib.embedded.binaries import find_binaries
from django_workflow.contrib.embedded.errors import CannotDropRoot, EmbeddedPostgresError, FolderNotUsable
from django_workflow.contrib.embedded.launcher import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")]

NOBODY = pwd.getpwnam("nobody")


@pytest.fixture(autouse=True)
def _programs_are_readable_by_all():
    command = ["setpriv", f"--reuid={NOBODY.pw_uid}", "--clear-groups", str(find_binaries().postgres), "--version"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("PostgreSQL is installed where other users cannot reach it")


def as_nobody(action: Callable[[], str]) -> str:
    """Run an action in a forked process of another user: this Python may lie where he cannot start it."""

    def child(answers: Connection) -> None:
        os.setgroups([])
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        try:
            answers.send(action())
        except EmbeddedPostgresError as error:
            answers.send(f"{type(error).__name__}: {error}")

    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(sender,))
    process.start()
    sender.close()
    answer = receiver.recv() if receiver.poll(60) else "no answer"
    process.join(60)
    return answer


def owner_of(pid: int | None) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def own(folder: Path) -> None:
    folder.mkdir()
    os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)


def test_root_keeps_the_files_without_a_new_user(cluster):
    cluster.ensure_running()
    assert cluster.data.stat().st_uid == 0


def test_normal_user_has_a_server_of_his_own(cluster):
    own(cluster.folder)
    assert as_nobody(lambda: cluster.ensure_running("orders").dbname) == "orders"
    assert owner_of(cluster.pid) == cluster.data.stat().st_uid == NOBODY.pw_uid


def test_normal_user_is_told_that_a_folder_is_not_his(cluster):
    cluster.ensure_running()
    answer = as_nobody(lambda: cluster.ensure_running().dbname)
    assert answer.startswith("FolderNotUsable")
    assert "it belongs to root, and you are nobody" in answer
    assert "DATABASE_URL" in answer


def test_status_of_somebody_elses_folder_is_a_clear_error(cluster):
    cluster.ensure_running()
    assert as_nobody(lambda: str(cluster.status())).startswith("FolderNotUsable")


def test_normal_user_is_told_that_a_folder_cannot_be_made(cluster):
    answer = as_nobody(lambda: cluster.ensure_running().dbname)
    assert answer.startswith("FolderNotUsable")
    assert "Permission denied" in answer


def test_normal_user_can_go_on_after_root_looked_after_his_folder(cluster):
    own(cluster.folder)
    cluster.ensure_running()
    assert owner_of(cluster.pid) == NOBODY.pw_uid
    cluster.stop()
    assert as_nobody(lambda: cluster.ensure_running("orders").dbname) == "orders"


def test_root_without_user_namespaces_becomes_nobody(cluster, monkeypatch):
    monkeypatch.setattr(privileges, "_as_mapped_user", lambda: ["no-such-program"])
    cluster.ensure_running()
    assert owner_of(cluster.pid) == NOBODY.pw_uid
    cluster.restart("kill")
    assert owner_of(cluster.pid) == NOBODY.pw_uid


def test_root_without_any_way_to_drop_root_is_told_what_was_tried(cluster, monkeypatch):
    monkeypatch.setattr(privileges, "_as_mapped_user", lambda: ["no-such-program"])
    monkeypatch.setattr(privileges, "_as_user", lambda uid, gid: ["false", str(uid), str(gid)])
    with pytest.raises(CannotDropRoot, match=r"no-such-program: not installed; false: .*DATABASE_URL"):
        cluster.ensure_running()


def test_socket_folder_made_by_somebody_else_is_refused(folder):
    cluster = Cluster(folder / ("deep" * 30))
    own(cluster.socket_folder)
    try:
        with pytest.raises(FolderNotUsable, match="somebody else has made it"):
            cluster.ensure_running()
    finally:
        cluster.socket_folder.rmdir()
