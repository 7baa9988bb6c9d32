"""One line that a person can read: what a worker is doing, or how far it has drained its queues."""

from __future__ import annotations

import shutil
import threading
import time
from typing import Any

from django_workflow import queue
from django_workflow.worker.dispatching.dispatcher import Dispatcher

BAR = 24


class StatusLine:
    """Rewrites one line on a terminal; elsewhere it prints a line now and then, and only when something changed."""

    def __init__(self, stream: Any, dispatcher: Dispatcher, *, is_terminal: bool) -> None:
        self._stream = stream
        self._dispatcher = dispatcher
        self._is_terminal = is_terminal
        self._every = 0.2 if is_terminal else 10.0
        self._finished = threading.Event()
        self._settled_before = 0
        self._at = time.monotonic()
        self._total = 0
        self._shown = ""

    def start(self) -> None:
        """Say what is served and show the line from now on, until `finish`."""
        options = self._dispatcher.options
        if options.drain:
            self._total = sum(queue.depth(name)[1] for name in queue.existing() if name in options.queues)
        self._print(f"serving {', '.join(options.queues)} with {options.concurrency} at once; Ctrl-C stops\n")
        threading.Thread(target=self._run, name="django_workflow-status", daemon=True).start()

    def _run(self) -> None:
        while not self._finished.wait(self._every):
            self._show()

    def finish(self) -> None:
        """Show the last state and end the line."""
        self._finished.set()
        self._show()
        tally = self._dispatcher.tally
        end = "\n" if self._is_terminal else ""
        self._print(f"{end}stopped: {tally.succeeded:,} succeeded, {tally.failed:,} failed attempts\n")

    def _show(self) -> None:
        text = self._text()
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._print("\r" + text[:width].ljust(width))
        elif text != self._shown:
            self._print(text + "\n")
        self._shown = text

    def _text(self) -> str:
        dispatcher, tally = self._dispatcher, self._dispatcher.tally
        now = time.monotonic()
        rate = (tally.settled - self._settled_before) / max(now - self._at, 1e-6)
        self._settled_before, self._at = tally.settled, now
        running = sum(1 for job in list(dispatcher.in_flight.jobs.values()) if job.begun_at and not job.ended_at)
        if dispatcher.options.drain:
            total = max(self._total, tally.settled + len(dispatcher.in_flight.jobs))
            share = tally.settled / total if total else 1.0
            bar = "█" * int(share * BAR) + "░" * (BAR - int(share * BAR))
            return f"{bar} {share:4.0%}  {tally.settled:,}/{total:,} attempts  {rate:,.0f}/s  {tally.failed:,} failed"
        state = "stopping" if dispatcher.is_stopping else "working" if dispatcher.in_flight.jobs else "idle"
        counts = f"{running} running, {tally.succeeded:,} succeeded, {tally.failed:,} failed attempts"
        return f"{state}: {counts}, {rate:,.0f}/s"

    def _print(self, text: str) -> None:
        # plain: what goes to a command's stderr is coloured as an error
        self._stream.write(text, style_func=str, ending="")
        self._stream.flush()


def for_stream(stream: Any, dispatcher: Dispatcher) -> StatusLine:
    """Return a status line that fits the stream: rewritten on a terminal, plain lines elsewhere."""
    return StatusLine(stream, dispatcher, is_terminal=bool(getattr(stream, "isatty", lambda: False)()))
