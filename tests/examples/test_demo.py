"""The demonstration, as a newcomer runs it: from an empty folder, twice at once, again, and when it cannot work."""

from __future__ import annotations

import os
import re
import resource
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

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "example_project.demo"]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """A folder of its own for PostgreSQL, which is stopped in the end."""
    # Not tmp_path: that is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="wf-demo-"))
    environment = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    yield environment | {"DJANGO_WORKFLOW_POSTGRES": str(folder / "pg"), "PYTHONIOENCODING": "utf-8"}
    Cluster(folder / "pg").stop("immediate")
    shutil.rmtree(folder)


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def is_worker_alive(output: str) -> bool:
    return psutil.pid_exists(int(re.search(r"Worker +process (\d+)", output)[1]))


def assert_told(output: str) -> None:
    """The output has all its parts, and what they tell is true."""
    for heading in ("PostgreSQL", "Audit:", "licences", "Orders", "History of order", "What happened", "Try next"):
        assert heading in output
    assert re.search(
        r"^  Django +\d[\d.]+ +[\d.]+ MB +[\d,]+ +BSD-3-Clause +expression +permissive$", output, re.MULTILINE
    )
    assert re.search(r"^  permissive +\d+ +[\d.]+ MB$", output, re.MULTILINE)
    orders = re.findall(r"^ +(\d+)  (\w+ \w+) .*?(shipped|rejected|cancelled)", output, re.MULTILINE)
    assert [end for _, _, end in orders] == ["shipped", "shipped", "shipped", "rejected", "cancelled"]
    attempts = re.findall(r"^  charge +(\d)  (\w+) ", output, re.MULTILINE)
    assert attempts[-1][1] == "succeeded"
    assert {outcome for _, outcome in attempts[:-1]} == {"failed"}
    assert re.search(r"Worker +stopped by SIGTERM, exit code 0", output)
    assert not is_worker_alive(output)


def test_two_at_once_on_an_empty_folder_both_work(environment):
    for demo in [start(environment), start(environment)]:
        output, errors = demo.communicate(timeout=120)
        assert (demo.returncode, errors) == (0, "")
        assert "History of order" in output
        assert not is_worker_alive(output)


def processor_seconds():
    """Seconds that children have used: other tests may be busy beside them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_second_time_it_takes_less_than_ten_seconds(environment):
    subprocess.run(COMMAND, env=environment, stdout=subprocess.DEVNULL, check=True)
    before = processor_seconds()
    demo = start(environment)
    output, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (0, "")
    assert processor_seconds() - before < 10
    assert_told(output)


def test_the_small_examples_run_from_the_command_line(environment):
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [sys.executable, "manage.py", "run_example", "simple"],
        cwd=root, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "and, i, to, before, go" in done.stdout


def test_stopping_it_stops_its_worker(environment):
    demo = start(environment)
    lines = []
    for line in demo.stdout:
        lines.append(line)
        if "Worker" in line:
            break
    assert is_worker_alive("".join(lines))
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=60)
    assert demo.returncode == 128 + signal.SIGTERM
    assert not is_worker_alive("".join(lines))


def test_a_worker_that_dies_fails_it_with_a_clear_word(environment, tmp_path):
    # The worker, and it alone, meets a module that cannot be imported.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'run_workflow_worker' in sys.argv: sys.exit('out of order')\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    demo = start(environment | {"PYTHONPATH": path})
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "demo: the worker ended by itself, with exit code 1. Its last words:" in errors
    assert "Traceback" not in errors.partition("Its last words:")[0]


def test_a_database_that_is_not_there_fails_it_with_a_clear_word(environment):
    done = subprocess.run(
        COMMAND,
        env=environment | {"DATABASE_URL": "postgresql:///none?host=/there/is/no/such/folder"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("\ndemo: ")
    assert "/there/is/no/such/folder" in done.stderr
    assert "Traceback" not in done.stderr
