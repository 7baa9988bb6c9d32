"""Reading what is typed: durations, JSON, labels; and options that several subcommands share."""

from __future__ import annotations

import getpass
import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "min": 60, "s": 1}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[wdhms])\s*")
DURATION_RULE = "a number with a unit, such as 90s, 10m, 12h, 30d or 1d12h"


def duration(text: str) -> timedelta:
    """Read a duration; a number without a unit is refused, for nobody knows what it would mean."""
    if not re.fullmatch(f"(?:{DURATION.pattern})+", text.strip()):
        raise ArgumentTypeError(f"{text!r} is not a duration: {DURATION_RULE}")
    seconds = sum(float(count) * SECONDS[unit] for count, unit in DURATION.findall(text))
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ArgumentTypeError(f"{text!r} is too long a time") from None


def patience(text: str) -> timedelta:
    """Read how long to wait: a duration, or seconds."""
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        return duration(text)


def positive(text: str) -> int:
    """Read a number from 1."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def label(text: str) -> tuple[str, str]:
    """Read a label: `name=value`."""
    name, is_given, value = text.partition("=")
    if not name or not is_given:
        raise ArgumentTypeError(f"{text!r} is not a label: write name=value")
    return name, value


def one_of_each(labels: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return labels by name; raises `CommandError` where one has two values, of which a run has but one."""
    found: dict[str, str] = {}
    for name, value in labels:
        if found.setdefault(name, value) != value:
            raise CommandError(f"--label {name} has two values, {found[name]!r} and {value!r}: a run has one of each.")
    return found


def json_value(text: str) -> Any:
    """Read a JSON value."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ArgumentTypeError("not JSON that can be stored: it is nested too deeply") from None
    except ValueError as error:
        hint = "; a text needs its quotes, such as '\"text\"'" if re.fullmatch(r"[\w .-]+", text) else ""
        raise ArgumentTypeError(f"not JSON: {error}{hint}") from None


def json_file(path: str) -> Any:
    """Read a JSON value from a file, or from standard input where the path is `-`."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}.") from error
    except RecursionError as error:
        raise CommandError(f"{path} holds JSON that is nested too deeply.") from error
    except ValueError as error:
        raise CommandError(f"{'Standard input' if path == '-' else path} holds no JSON: {error}.") from error


def login_name() -> str:
    """Return who is logged in at the shell, empty where nobody is: a container may know no users."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def add_author(parser: ArgumentParser) -> None:
    """Take who does it, and why."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="Why; stored with the run's events.")
    add_by(parser)


def add_by(parser: ArgumentParser) -> None:
    """Take who does it."""
    parser.add_argument("--by", metavar="NAME", help="Who does it (default: your login name); stored with it.")


def author(by: str | None) -> str:
    """Return who does it: as told, else who is logged in."""
    return login_name() if by is None else by
