"""With which codes processes end."""

from __future__ import annotations

import signal

#: A worker ended itself because its loop stood still.
STALLED = 70
#: Ctrl-C asked for the end: what a shell says of a program that this signal has ended.
INTERRUPTED = 128 + signal.SIGINT.value
