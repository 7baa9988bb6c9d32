"""Several worker processes under one parent: restarts what dies, passes signals on, reloads on changed code."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType

from django.utils import autoreload

from django_workflow.worker.exit_codes import INTERRUPTED

logger = logging.getLogger("django_workflow.worker")

#: A child that dies sooner than this is not restarted at once.
SHORT_LIFE = 2.0


class Supervisor:
    """Starts `processes` children with the same command line and keeps them running.

    command: the child's arguments, as for `subprocess`. reload: restart them when the code changes.
    """

    def __init__(self, command: Sequence[str], processes: int, *, reload: bool = False) -> None:
        self._command = list(command)
        self._count = processes
        self._reload = reload
        self._children: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        #: Places whose child died too soon, and when another one is started there.
        self._resting: dict[int, float] = {}
        self._stops = 0
        self._is_interrupted = False
        # the only thing that a signal handler may safely do is to put into such a queue
        self._signals: SimpleQueue[int] = SimpleQueue()

    def run(self) -> int:
        """Supervise until stopped; returns the exit code: where every child ended cleanly 0, and 130 after Ctrl-C."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        for place in range(self._count):
            self._spawn(place)
        watcher = _CodeWatcher() if self._reload else None
        worst = 0
        while self._children or self._resting:
            self._take_signals()
            if watcher is not None and not self._stops and watcher.has_changed():
                logger.warning("the code changed, workers restart")
                self._signal_children(signal.SIGTERM)
            worst = max(worst, self._reap())
            for place in [place for place, at in self._resting.items() if at <= time.monotonic()]:
                del self._resting[place]
                self._spawn(place)
        return worst or (INTERRUPTED if self._is_interrupted else 0)

    def _take_signals(self) -> None:
        """Wait up to a second for signals, and pass on those that stop."""
        with suppress(Empty):
            number = self._signals.get(timeout=1.0)
            while True:
                if number != signal.SIGCHLD:
                    self._is_interrupted |= not self._stops and number == signal.SIGINT
                    self._stops += 1
                    self._resting.clear()
                    self._signal_children(signal.SIGTERM)
                number = self._signals.get_nowait()

    def _spawn(self, place: int) -> None:
        # a group of its own: a terminal's Ctrl-C reaches the parent, which tells the children once
        child = subprocess.Popen(self._command, start_new_session=True)
        self._children[place] = (child, time.monotonic())

    def _reap(self) -> int:
        """Take note of ended children and restart them unless stopping; returns the worst exit code."""
        worst = 0
        for place, (child, since) in list(self._children.items()):
            code = child.poll()
            if code is None:
                continue
            del self._children[place]
            if self._stops and code == -signal.SIGTERM:
                # told to stop before it listened to signals: it had not begun to work
                continue
            if self._stops or (code == 0 and not self._reload):
                worst = max(worst, abs(code))
                continue
            if code != 0:
                logger.error("worker process %d ended with code %d, starting another", child.pid, code)
            self._resting[place] = since + SHORT_LIFE if code != 0 else 0.0
        return worst

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(number)

    def _signal_children(self, number: int) -> None:
        for child, _ in self._children.values():
            if child.poll() is None:
                os.kill(child.pid, number)


class _CodeWatcher:
    """Tells when a module of the site has changed, by Django's own reloader."""

    def __init__(self) -> None:
        self._reloader = autoreload.StatReloader()
        self._times = dict(self._reloader.snapshot_files())

    def has_changed(self) -> bool:
        times = dict(self._reloader.snapshot_files())
        changed = any(self._times.get(path) not in (None, moment) for path, moment in times.items())
        self._times = times
        return changed


def child_command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a child: this process's own entry point, a script or `-m`, with other arguments."""
    own = autoreload.get_child_arguments()
    return [*map(str, own[: len(own) - len(sys.argv[1:])]), *arguments]
