"""What the demonstration prints: sections, and lines about what was done."""

from __future__ import annotations

import time
from pathlib import Path


class DemoFailed(Exception):
    """Something is not as it should be; the message says what."""


def heading(text: str) -> None:
    """Print the title of a section."""
    print(f"\n{text}\n")


def say(what: str, how: str, began: float) -> None:
    """Print a line about something that was done, and how long it took."""
    print(f"  {what:11} {how:82} {time.monotonic() - began:5.2f} s", flush=True)


def shown(path: str | Path) -> str:
    """Return a path as one types it here: relative if it is below the current directory."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
