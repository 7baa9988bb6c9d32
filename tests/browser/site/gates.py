"""Gates: a handler stops at one until the test opens it. They are files, so they cost the database nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "TEST_GATES"
#: Seconds after which a handler goes on by itself: the test has failed long before.
PATIENCE = 60.0


class Gates:
    """The gates in a folder; all are closed at first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str) -> None:
        """Let everybody through, until it is closed."""
        (self.folder / name).touch()

    def close(self, name: str) -> None:
        """Stop everybody who comes from now on."""
        (self.folder / name).unlink(missing_ok=True)

    def is_open(self, name: str) -> bool:
        """Say whether one may go through."""
        return (self.folder / name).exists()

    def pass_through(self, name: str) -> None:
        """Wait at a gate."""
        until = time.monotonic() + PATIENCE
        while not self.is_open(name) and time.monotonic() < until:
            time.sleep(0.01)


def gates() -> Gates:
    """Return those of the test that has started this process."""
    return Gates(Path(os.environ[VARIABLE]))
