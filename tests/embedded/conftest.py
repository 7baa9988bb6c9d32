"""Folders for clusters that are stopped and removed whatever a test did to them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_workflow.contrib.embedded.launcher import Cluster


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: that is too long for a socket, and closed to other users, as whom some tests run PostgreSQL.
    base = Path(tempfile.mkdtemp(prefix="wf-")).resolve()
    base.chmod(0o755)
    yield base / "pg"
    for data in base.rglob("data"):
        Cluster(data.parent).stop("immediate")
    shutil.rmtree(base)


@pytest.fixture
def cluster(folder: Path) -> Cluster:
    return Cluster(folder)
