"""`run.py serve`, as somebody uses it: start it, log in, look, press Ctrl-C."""

from __future__ import annotations

import http.cookiejar
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import psutil
import pytest

from django_workflow.contrib.embedded.launcher import Cluster
from tests.examples.serving import COMMAND, Serving
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for PostgreSQL; not tmp_path, which is too long for a socket."""
    made = Path(tempfile.mkdtemp(prefix="wf-serve-"))
    yield made / "pg"
    Cluster(made / "pg").stop("immediate")
    shutil.rmtree(made)


@pytest.fixture
def serving(folder: Path) -> Iterator[Serving]:
    made = Serving(folder)
    yield made
    if made.popen.poll() is None:
        made.popen.kill()
        made.popen.wait()


def log_in(address: str, name: str, password: str) -> tuple[OpenerDirector, str]:
    """Log in as a browser does; return it, and the page it comes to."""
    browser = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
    form = browser.open(f"{address}/login/", timeout=10).read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token is not None
    values = {"csrfmiddlewaretoken": token[1], "username": name, "password": password}
    answer = browser.open(f"{address}/login/", urlencode(values).encode(), timeout=10)
    return browser, f"{answer.url}\n{answer.read().decode()}"


def test_it_starts_lets_both_users_in_and_ctrl_c_ends_everything_it_started(serving):
    for name in ("operator", "viewer"):
        browser, page = log_in(serving.address, name, serving.password(name))
        assert page.startswith(f"{serving.address}/workflow/")
        assert name in page
    runs = eventually(
        lambda: (
            "orders" in (page := browser.open(f"{serving.address}/workflow/runs/", timeout=10).read().decode()) and page
        ),
        "a run is there",
        seconds=30,
    )
    assert "Content-Security-Policy" in browser.open(f"{serving.address}/workflow/", timeout=10).headers
    assert runs
    loops = browser.open(f"{serving.address}/workflow/runs/?flow=several_entries", timeout=10).read().decode()
    assert re.search(r'href="/workflow/runs/[0-9a-f-]{36}/"', loops), "a loop with a join can be looked at"
    children = serving.children()
    assert len(children) == 2
    assert all(psutil.pid_exists(pid) for pid in children)
    assert serving.end() == 130, serving.output
    assert "Traceback" not in serving.output
    assert not any(psutil.pid_exists(pid) for pid in children)
    assert serving.cluster.pid is None


def test_the_operator_may_open_the_admin_and_the_viewer_may_not(serving):
    address = f"{serving.address}/admin/"
    operator, _ = log_in(serving.address, "operator", serving.password("operator"))
    assert "Site administration" in operator.open(address, timeout=10).read().decode()
    viewer, _ = log_in(serving.address, "viewer", serving.password("viewer"))
    assert "/admin/login/" in viewer.open(address, timeout=10).url
    assert serving.end(signal.SIGTERM) == 0


def test_a_worker_that_dies_ends_it_with_the_last_words(serving):
    worker, site = serving.children()
    os.kill(worker, signal.SIGKILL)
    assert serving.popen.wait(30) == 1
    assert "the worker ended by itself" in serving.output
    assert not psutil.pid_exists(site)


def test_a_port_in_use_is_told_before_anything_is_started(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "--port", str(port)],
            env=os.environ | {"DJANGO_WORKFLOW_POSTGRES": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr
    assert not folder.exists()
