"""Ctrl-C, `kill` and a closed terminal: the first of them ends a program in order, and no other one cuts that short."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants this to end; holds what a shell is told then."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.code = 128 + number


def obey() -> None:
    """Raise `Stopped` at the first such signal, from now on."""
    for number in NUMBERS:
        signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    # what was started is being ended from here on, and that takes some seconds at most
    for each in NUMBERS:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)
