"""Questions about operating system processes that ``os.kill(pid, 0)`` alone answers wrongly."""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie, which an init that reaps nobody leaves behind, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:  # not Linux, or gone in this moment: the next look will tell
        return True
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def works_in(pid: int, folder: Path) -> bool | None:
    """Tell whether a process has the folder as its working directory, as every process of a PostgreSQL has.

    Returns:
        None where the operating system does not say.
    """
    try:
        return (PROC / str(pid) / "cwd").readlink() == folder
    except OSError:
        return None


def processes_in(folder: Path) -> list[int]:
    """List the processes that run with the folder as their working directory, as far as the system tells."""
    if not PROC.is_dir():
        return []
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if works_in(pid, folder) and is_alive(pid)]
