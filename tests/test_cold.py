"""The first command of a newcomer: a fresh checkout, an empty home, nothing installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from django_workflow.contrib.embedded.launcher import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # packages may have to be fetched

ROOT = Path(__file__).parent.parent
#: What a demonstration may take of a disk, in MB: development tools take more than twice as much.
MOST = 250


@pytest.fixture
def checkout() -> Iterator[Path]:
    """A copy of what the repository has; not in tmp_path, which is too long for a socket."""
    made = Path(tempfile.mkdtemp(prefix="wf-cold-")).resolve()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made / name)
    yield made
    Cluster(made / ".postgres").stop("immediate")
    shutil.rmtree(made)


def environment(home: Path) -> dict[str, str]:
    """What a login shell has; pip may use what it has fetched before."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG") or name.startswith("PIP_")}
    cache = Path(os.environ.get("HOME", "/")) / ".cache" / "pip"
    return {"PIP_CACHE_DIR": str(cache)} | kept | {"HOME": str(home)}


def megabytes(folder: Path) -> float:
    """What the files of a folder take of the disk."""
    return sum(path.lstat().st_blocks for path in folder.rglob("*")) * 512 / 1e6


def processes_of(folder: Path) -> list[str]:
    """The processes that work in a folder, or were started from it."""
    found = []
    for process in psutil.process_iter():
        try:
            about = [process.cwd(), *process.cmdline()]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in about):
            found.append(f"{process.pid}: {' '.join(about)}")
    return found


def test_a_demonstration_installs_no_development_tools_and_leaves_nothing_running(checkout, tmp_path):
    done = subprocess.run(
        [sys.executable, "run.py", "demo"],
        cwd=checkout, env=environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "History of order" in done.stdout
    assert megabytes(checkout / ".venv") < MOST
    packages = {path.name.partition("-")[0] for path in (checkout / ".venv").rglob("*.dist-info")}
    assert packages.isdisjoint({"pytest", "mypy", "ruff", "playwright", "sphinx"})
    assert processes_of(checkout) == []
