"""Ours as a contender: the public face and the worker command, with default settings."""

from __future__ import annotations

import os
import sys

import django
import protocol

django.setup()

from benchsite.workflows import FLOWS  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from django_workflow import db  # noqa: E402

if os.environ.get("PERF_NOTIFY") == "off":
    # What starting costs without notifications: the one function that sends them does nothing.
    db.notify = db.notify_after_commit = lambda notifications: None


def query(sql: str) -> int:
    """The one value of a query."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


class Ours:
    """Runs are runs."""

    def setup(self) -> None:
        """Migrate, which also publishes flows and queues."""
        call_command("migrate", verbosity=0)

    def start(self, kind: str, count: int) -> None:
        """Start runs, one by `start` and many by `start_many`; `here.` before a flow's name executes one here."""
        flow = FLOWS[kind.removeprefix("here.")]
        if kind.startswith("here."):
            flow.execute(None)
        elif kind == "map":
            flow.start(list(range(count)))
        elif kind == "map_step":
            flow.start(count)
        elif kind == "usual":
            flow.start_many([{"order": number, "note": "n" * 200} for number in range(count)])
        elif count == 1:
            flow.start(None)
        else:
            flow.start_many([None] * count)

    def is_settled(self) -> bool:
        """No run is unsettled; answered by a partial index, which a planner with statistics of before passes over."""
        unsettled = "SELECT 1 FROM django_workflow_run WHERE status IN ('scheduled', 'running', 'paused')"
        query("SELECT length(set_config('enable_seqscan', 'off', false))")
        return bool(query(f"SELECT (NOT EXISTS ({unsettled}))::int"))

    def succeeded(self) -> int:
        """Count the runs that succeeded."""
        return query("SELECT count(*) FROM django_workflow_run WHERE status = 'succeeded'")

    def work(self) -> None:
        """One worker process; everything but the common concurrency is its default."""
        call_command("run_workflow_worker", "--concurrency", str(protocol.CONCURRENCY))


def hammer(seconds: float) -> None:
    """Call `start` for some seconds once told to go; print how often."""
    flow = FLOWS["noop"]
    flow.start(None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    count, end = 0, protocol.clock() + seconds
    while protocol.clock() < end:
        flow.start(None)
        count += 1
    sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    if sys.argv[1] == "hammer":
        hammer(float(sys.argv[2]))
    else:
        protocol.main(Ours())
