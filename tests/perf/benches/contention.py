"""Many sessions that start runs at once, on a disk whose flush takes 3 ms."""

from __future__ import annotations

import subprocess

from tests.perf.contenders import Contender, ours
from tests.perf.measures import Measure, Peer
from tests.perf.stage import Entry, RoundFailed, Stage
from tests.perf.stats import at_least

SESSIONS = 8
SECONDS = 3.0
# The delay before each group flush stands in for a slow disk; commit_siblings=0 makes every durable commit wait.
SLOW_FLUSH = {"commit_delay": "3000", "commit_siblings": "0"}


def starts_per_second(stage: Stage, contender: Contender) -> float:
    """Starts per second of all sessions together, each in a process of its own."""
    with stage.enter(contender) as entry, stage.postgres.configured(**SLOW_FLUSH):
        sessions = [open_session(entry) for _ in range(SESSIONS)]
        for session in sessions:
            expect(session, "ready")
        for session in sessions:
            assert session.stdin
            session.stdin.write("go\n")
            session.stdin.flush()
        return sum(int(session.communicate()[0]) for session in sessions) / SECONDS


def open_session(entry: Entry) -> subprocess.Popen[str]:
    """A process that will call `start` for some seconds."""
    command = [entry.contender.python(), str(entry.contender.path), "hammer", str(SECONDS)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=entry.environment, stdin=pipe, stdout=pipe, text=True)


def expect(session: subprocess.Popen[str], word: str) -> None:
    """Read one line of a session."""
    assert session.stdout
    if (line := session.stdout.readline().strip()) != word:
        raise RoundFailed(f"a session said {line!r} instead of {word!r}")


MEASURES = (
    Measure(
        name="contention",
        title="8 sessions calling start with a flush of 3 ms, with notifications against without",
        unit="/s",
        play=starts_per_second,
        peers=(Peer(ours("ours without NOTIFY", PERF_NOTIFY="off"), starts_per_second, at_least(0.9)),),
    ),
)
