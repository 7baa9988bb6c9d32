"""Waiting in tests: for a condition, with a deadline, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks: at first, and at most. Who waits long leaves the processor to what is waited for.
PAUSES = (0.005, 0.05)


def eventually(condition: Callable[[], T], what: str = "", *, seconds: float = 60.0) -> T:
    """Return the first true value of `condition`; fail once `seconds` have passed without one."""
    deadline = time.monotonic() + seconds
    pause, longest = PAUSES
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(pause)
        pause = min(longest, 1.2 * pause)
    return value
