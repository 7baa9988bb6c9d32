"""Live pages: how soon they hear, and what those who look cost those who work."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.perf.contenders import HERE, Contender, ours
from tests.perf.measures import Measure, Peer, Play
from tests.perf.stage import Entry, RoundFailed, Stage, stop_group
from tests.perf.stats import at_most, reaches

CHANGES = 100
VIEWERS = 20
ITEMS = 90_000  # of a run that is busy for a quarter of a minute
WARM_SECONDS = 8.0
SECONDS = 12.0
LOAD_EVERY = 2.5
# so that they load at different times, as people do
OPEN_EVERY = 1.0
LOG_PREFIX = "perf-%d-%a "
WEB = "perf-web"
STATEMENT = r"^perf-{database}-{web} LOG:  (statement|execute)\b"

SITE = {"DJANGO_SETTINGS_MODULE": "benchsite.pages", "PERF_BUSY_ITEMS": str(ITEMS)}


@contextmanager
def web(entry: Entry) -> Iterator[Path]:
    """Serve the site for a block; yields the server's unix socket."""
    path = entry.folder / "web.sock"
    command = [entry.contender.python(), "-m", "uvicorn", "--log-level", "warning", "--uds", str(path)]
    with (entry.folder / "log").open("ab") as log:
        environment = {**entry.environment, "PGAPPNAME": WEB}
        server = subprocess.Popen(
            [*command, "benchsite.asgi:application"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        for _ in range(600):
            if path.exists():
                break
            time.sleep(0.05)
        yield path
    finally:
        stop_group(server)


@contextmanager
def viewers(entry: Entry, count: int) -> Iterator[dict[str, Any]]:
    """Let people look at the newest run for a block; afterwards the dictionary says what they heard and loaded."""
    told: dict[str, Any] = {}
    with web(entry) as path, (entry.folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [entry.contender.python(), str(HERE / "peers" / "viewers.py"), "look", f"{count}/{OPEN_EVERY}", str(path)],
            env=entry.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                raise RoundFailed(f"nobody can look\n{entry.log()}")
            time.sleep(2 * LOAD_EVERY)  # all have loaded what they opened
            yield told
            answer, _ = process.communicate(timeout=30)
            if not answer:
                raise RoundFailed(f"those who looked failed\n{entry.log()}")
            told |= json.loads(answer)
        finally:
            process.kill()
            process.wait()


@contextmanager
def nobody() -> Iterator[None]:
    """Let the time pass that people take to come: a database that has just been made is faster than one that waited."""
    time.sleep(VIEWERS * OPEN_EVERY + 2 * LOAD_EVERY)
    yield


def latency(stage: Stage, contender: Contender) -> float:
    """Milliseconds from a commit to the message at a page, median; nothing else happens."""
    with stage.enter(contender) as entry:
        entry.ask("start", kind="noop", count=1)
        with web(entry) as path:
            command = [entry.contender.python(), str(HERE / "peers" / "viewers.py"), "latency", str(CHANGES), str(path)]
            for _ in range(100):
                done = subprocess.run(command, env=entry.environment, capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    return statistics.median(json.loads(done.stdout))
                if "Connection" not in done.stderr:
                    break
                time.sleep(0.1)
        raise RoundFailed(f"{done.stderr[-2000:]}\n{entry.log()}")


def rate(count: int) -> Play:
    """Return a play: items per second of a run at whose page so many people look."""

    def play(stage: Stage, contender: Contender) -> float:
        with stage.enter(contender) as entry:
            entry.ask("start", kind="busy", count=1)
            stage.settle_statistics(entry)
            with viewers(entry, count) if count else nobody(), entry.worker():
                settled = entry.wait()
            if (succeeded := entry.ask("count")) != 1:
                raise RoundFailed(f"{contender.name}: {succeeded} of 1 busy runs succeeded")
            return ITEMS / (settled - entry.began())

    return play


def statements_of_a_viewer(stage: Stage, contender: Contender) -> float:
    """Statements per second that one open page of a busy run costs, counted in the server's log."""
    logged = stage.postgres.configured(log_statement="all", log_line_prefix=LOG_PREFIX)
    with logged, stage.enter(contender) as entry:
        entry.ask("start", kind="steady", count=1)
        stage.settle_statistics(entry)
        with viewers(entry, 1), entry.worker():
            time.sleep(WARM_SECONDS)
            start = stage.postgres.log.stat().st_size
            time.sleep(SECONDS)
            with stage.postgres.log.open("rb") as log:
                log.seek(start)
                lines = log.read().decode(errors="replace")
        pattern = STATEMENT.format(database=re.escape(entry.database), web=WEB)
        if (count := len(re.findall(pattern, lines, re.MULTILINE))) < SECONDS:
            raise RoundFailed(f"a page that is looked at reads something: {count} statements\n{entry.log()}")
        return count / SECONDS


OURS = ours("ours, with pages", **SITE)
MEASURES = (
    Measure(
        name="live.latency",
        title="idle: commit to the message at a websocket, median",
        unit=" ms",
        play=latency,
        must=at_most(5),
        ours=OURS,
    ),
    Measure(
        name="live.viewers",
        title="90,000 items of one run, at whose page 20 people look, against nobody looking",
        unit="/s",
        play=rate(VIEWERS),
        peers=(Peer(ours("ours, nobody looks", **SITE), rate(0), reaches(0.95)),),
        ours=OURS,
    ),
    Measure(
        name="live.statements",
        title="statements per second of one open page of a busy run",
        unit="/s",
        play=statements_of_a_viewer,
        must=at_most(5),
        ours=OURS,
    ),
)
