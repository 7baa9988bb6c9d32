"""An interruption of the tests leaves nothing running."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from django_workflow.contrib.embedded.launcher import Cluster
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
#: A test that starts somebody who hears nothing of Ctrl-C, and then takes long.
LONG = """
import subprocess, sys, time

def test_long(db):
    nap = "import time; time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", nap], start_new_session=True)
    with open({told!r}, "a") as file:
        file.write(f"{{child.pid}}\\n")
    time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for PostgreSQL and tests; not tmp_path, which is too long for a socket."""
    made = Path(tempfile.mkdtemp(prefix="wf-left-"))
    yield made
    for each in made.glob("pg*"):
        Cluster(each).stop("immediate")
    shutil.rmtree(made)


@pytest.mark.parametrize("parallel", [[], ["-n", "2", "--dist", "load"]], ids=["one process", "parallel"])
def test_ctrl_c_during_tests_leaves_neither_server_nor_process(folder, parallel):
    names = ["test_one.py", "test_two.py"] if parallel else ["test_one.py"]
    for name in names:
        (folder / name).write_text(LONG.format(told=str(folder / "told")))
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "DATABASE_URL"))}
    (folder / "conftest.py").write_text("from tests.conftest import pytest_configure, pytest_unconfigure")
    command = ["-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *parallel, str(folder)]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), *command],
        cwd=ROOT,
        env=environ | {"DJANGO_WORKFLOW_POSTGRES": str(folder / "pg"), "DJANGO_SETTINGS_MODULE": "tests.settings"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    told = folder / "told"
    eventually(
        lambda: process.poll() is not None or (told.exists() and len(told.read_text().split()) == len(names)),
        "tests that run",
        seconds=60,
    )
    assert process.poll() is None, process.communicate()
    napping = {int(pid) for pid in told.read_text().split()}
    servers = [Cluster(each) for each in folder.glob("pg*")]
    assert all(cluster.pid for cluster in servers)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert [cluster.folder for cluster in servers if cluster.pid is not None] == []
    assert not any(psutil.pid_exists(pid) for pid in napping), output
    assert {int(pid) for pid in re.findall(r"ended now: process (\d+)", output)} == napping
