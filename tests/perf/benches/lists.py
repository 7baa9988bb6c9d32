"""The list of runs over a million: what a page takes, with any filter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Literal

from tests.perf.benches.live import OURS
from tests.perf.contenders import HERE, Contender
from tests.perf.measures import Measure, Play
from tests.perf.stage import RoundFailed, Stage
from tests.perf.stats import at_most

RUNS = 1_000_000
DATABASE = "perf_lists"
#: How many of the dearest pages are told.
DEAREST = 5


def script(stage: Stage, contender: Contender, *arguments: str) -> str:
    """Run the script that fills and measures in the database of lists; return what it prints."""
    environment = stage.environment(contender, DATABASE, HERE)
    command = [contender.python(), str(HERE / "peers" / "lists.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RoundFailed(f"{' '.join(arguments)}: {done.stderr[-3000:]}")
    return done.stdout


def dearest(what: Literal["ms", "statements"]) -> Play:
    """Return a play: what the dearest page takes; the first play of all fills the tables."""

    def play(stage: Stage, contender: Contender) -> float:
        if DATABASE not in stage.prepared:
            stage.postgres.create(DATABASE, template=stage.template(contender))
            script(stage, contender, "fill", str(RUNS))
            stage.postgres.execute("CHECKPOINT")  # what filling left to be written is not the pages' work
            stage.prepared.add(DATABASE)
        found: dict[str, list[float]] = json.loads(script(stage, contender, "measure"))
        column = ("ms", "statements").index(what)
        pages = sorted(found, key=lambda name: found[name][column], reverse=True)
        told = ", ".join(f"{name} {found[name][column]:g}" for name in pages[:DEAREST])
        sys.stderr.write(f"{len(pages)} pages; dearest in {what}: {told}\n")
        return found[pages[0]][column]

    return play


MEASURES = (
    Measure(
        name="lists.runs",
        title="the dearest page of the list over 1,000,000 runs: every filter alone, usual pairs, searches",
        unit=" ms",
        play=dearest("ms"),
        must=at_most(50),
        ours=OURS,
    ),
    Measure(
        name="lists.statements",
        title="statements of the dearest page, besides session, user and permissions",
        unit="",
        play=dearest("statements"),
        must=at_most(6),
        ours=OURS,
    ),
)
