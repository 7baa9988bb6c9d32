"""The soak's share in CI; `python -m tests.chaos.soak` does it for longer."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from tests.races.workers import ROOT

pytestmark = pytest.mark.chaos

MINUTES = 0.4


@pytest.mark.timeout(600)
def test_all_that_can_go_wrong_at_random_leaves_nothing_wrong(capsys):
    seed = os.environ.get("CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))
    soak = [sys.executable, "-m", "tests.chaos.soak", "--minutes", str(MINUTES), "--seed", seed]
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(soak, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    with capsys.disabled():
        print(f"\n{done.stdout}")  # noqa: T201
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-10_000:]}"
