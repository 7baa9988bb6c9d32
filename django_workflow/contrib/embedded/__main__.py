"""Start, stop or look at an embedded PostgreSQL: ``python -m django_workflow.contrib.embedded stop .postgres``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .errors import EmbeddedPostgresError
from .launcher import Cluster

NOT_RUNNING = 3  # as of `systemctl status`


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m django_workflow.contrib.embedded", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(".postgres"))
    parser.add_argument("--mode", choices=["smart", "fast", "immediate"], default="fast", help="how to stop")
    parser.add_argument("--major", type=int, help="the PostgreSQL version of a new folder (default: the newest)")
    options = parser.parse_intermixed_args(arguments)
    cluster = Cluster(options.folder, major=options.major)
    write = sys.stdout.write
    try:
        match options.command:
            case "start":
                write(f"{cluster.ensure_running().url}\n")
            case "stop":
                stopped = cluster.stop(options.mode)
                write(f"PostgreSQL in {cluster.folder} {'is stopped' if stopped else 'did not run'}.\n")
            case "status":
                status = cluster.status()
                state = f"runs as process {status.pid}" if status.is_running else "does not run"
                write(f"PostgreSQL in {cluster.folder} {state}. Log: {status.log}\n")
                return 0 if status.is_running else NOT_RUNNING
    except EmbeddedPostgresError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
