"""Numbers and times that an author gives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django_workflow.definition.elements import LONGEST_TIME
from django_workflow.definition.problems import Path, Report

#: Of a time in seconds, a factor, a share: neither infinite nor too large to be one.
LARGEST_NUMBER = 1e15


def check_time(path: Path, value: Any, report: Report) -> None:
    """Report what is wrong with a positive time: a `timedelta`, or seconds where there is only JSON."""
    what = ": ".join(map(str, path))
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not is_number(seconds):
        report("bad_value", path, f"{what} must be a timedelta, not {value!r}")
    elif seconds <= 0:
        report("bad_value", path, f"{what} must be positive, not {seconds:g} s")
    elif seconds > LONGEST_TIME.total_seconds():
        given = value if isinstance(value, timedelta) else f"{seconds:g} s"
        report("bad_value", path, f"{what} must be at most {LONGEST_TIME.days} days, not {given}")


def is_whole(value: Any) -> bool:
    """Say whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Say whether a value is a number that can be used as one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
