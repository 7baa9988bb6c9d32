"""Raising an exception in the thread of another handler, and only where that leaves no lock behind.

Python raises it between two bytecodes of whatever that thread executes: between the acquiring of a lock by `logging`
and the `try` that would release it, for example. So the thread is looked at first, and again some milliseconds later
while it is in such code. One that logs all the time is interrupted where it makes its next record (`capture`).
"""

from __future__ import annotations

import ctypes
import dis
import gc
import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import attrgetter, call, eq, is_, itemgetter
from types import CodeType, FrameType
from typing import Any

logger = logging.getLogger("django_workflow.worker")

#: Seconds between two looks at a thread: at first, and at most.
PAUSES = (0.002, 0.05)
#: Modules that are not to be interrupted, nor what they call.
#: An import that is broken off leaves a package of which some modules are never bound to it again.
GUARDED = (
    "logging", "importlib", "_frozen_importlib",
    "django_workflow.worker.logs.capture", "django_workflow.worker.logs.writer",
)  # fmt: skip
#: Modules that are not to be interrupted themselves: they take locks in functions of their own, or hold them shortly.
GUARDED_ALONE = (
    "_weakrefset", "asgiref", "concurrent.futures", "contextlib", "django_workflow.worker",
    "multiprocessing", "psycopg_pool", "queue", "threading", "weakref",
)  # fmt: skip

#: By its name it is a function object of our own: the argument types of the other one are everybody's.
_raise_in = ctypes.pythonapi["PyThreadState_SetAsyncExc"]
_raise_in.argtypes = [ctypes.c_ulong, ctypes.py_object]


def _lines_calling(function: Any, name: str, leave_out: int = 0) -> tuple[CodeType, frozenset[int]]:
    """Return a function's code and the lines on which it calls a method `name`, without the first `leave_out`."""
    lines = [
        instruction.positions.lineno
        for instruction in dis.get_instructions(function)
        if instruction.argval == name and instruction.positions is not None
    ]
    return function.__code__, frozenset(line for line in lines[leave_out:] if line is not None)


#: Where `threading` waits for long, and is written to be interrupted: as by KeyboardInterrupt.
_WAITING: dict[CodeType, frozenset[int]] = dict(
    [
        # its first `acquire` is of a lock that nobody else knows yet
        _lines_calling(threading.Condition.wait, "acquire", leave_out=1),
        _lines_calling(getattr(threading.Thread, "_wait_for_tstate_lock", threading.Thread.join), "acquire"),
        *([] if sys.version_info < (3, 13) else [_lines_calling(threading.Thread.join, "join")]),
    ]
)


def is_safe(frame: FrameType, entry: CodeType) -> bool:
    """Say whether a thread may be interrupted where it is: in `frame`, called by the function `entry`."""
    is_waiting = frame.f_lineno in _WAITING.get(frame.f_code, ())
    if not is_waiting and _is_of(frame, GUARDED_ALONE):
        return False
    each: FrameType | None = frame
    while each is not None and each.f_code is not entry:
        if _is_of(each, GUARDED):
            return False
        each = each.f_back
    return each is not None and each is not frame


def _is_of(frame: FrameType, modules: tuple[str, ...]) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def raise_in(thread_id: int, exception: type[BaseException], entry: CodeType) -> bool:
    """Raise in a thread, unless it is where it must not be interrupted; returns whether it was raised.

    entry: the code of the function that called what may be interrupted.
    """
    with _without_collections():
        frame = sys._current_frames().get(thread_id)  # noqa: SLF001  documented, for debuggers
        if frame is None:
            return True  # the thread has ended
        place = frame.f_lasti
        if not is_safe(frame, entry):
            return False
        # Whether it still is where it was seen, and the raising, are one call into C: between two calls in Python this
        # thread could be stopped, and the other one would go on to where it must not be interrupted.
        frames = map(itemgetter(thread_id), map(call, [sys._current_frames]))  # noqa: SLF001
        steps = chain(
            map(is_, frames, [frame]),
            map(eq, map(attrgetter("f_lasti"), [frame]), [place]),
            map(_raise_in, [thread_id], [exception]),
        )
        return all(steps)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Let no garbage be collected meanwhile.

    Before Python 3.12 whatever allocates may collect it, and so run any code. In the middle of a call into C another
    thread would go on then; in `sys._current_frames`, which holds the lock that every new thread takes, all threads
    could wait for each other.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def take_back(thread_id: int) -> None:
    """Let a thread not raise what it has not raised yet."""
    _raise_in(thread_id, ctypes.py_object())


class _Interrupter:
    """A thread that tries interruptions again until they are done; it sleeps while there are none."""

    def __init__(self) -> None:
        self._tries: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def try_until_done(self, attempt: Callable[[], bool]) -> None:
        self._tries.put(attempt)
        with self._lock:
            # there is none after a fork, either
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="django_workflow-interrupter", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause, longest = PAUSES
        pending: list[Callable[[], bool]] = []
        while True:
            try:
                new = self._tries.get(timeout=pause if pending else None)
                pending.append(new)
                pause = PAUSES[0]
            except queue.Empty:
                pause = min(longest, 1.2 * pause)
            pending = [attempt for attempt in pending if not _is_done(attempt)]


def _is_done(attempt: Callable[[], bool]) -> bool:
    try:
        return attempt()
    except Exception:
        logger.exception("a handler's thread cannot be interrupted")
        return True


#: Calls a function again and again until it returns True; one thread serves the whole process.
try_until_done = _Interrupter().try_until_done
