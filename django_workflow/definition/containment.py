"""Code that is called by name, such as conditions and strategies: whatever it raises is an error of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

#: What surrounds each call of such code; the app keeps the engine's transaction from it.
surroundings: list[Callable[[], AbstractContextManager[None]]] = []


def surrounded() -> AbstractContextManager[None]:
    """Return what surrounds a call of the site's code."""
    return surroundings[-1]() if surroundings else nullcontext()


def leave_to_operator(error: BaseException) -> None:
    """Raise the `KeyboardInterrupt` of an operator's Ctrl-C; return on anything else, `SystemExit` included.

    It is an operator's where Python itself makes it of the signal: in the main thread, unless the signal is handled
    otherwise, as in a worker.
    """
    if (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        raise error


def log_anyway(log: Callable[..., None], message: str, *args: object, **options: Any) -> None:
    """Log a last word: what a logging handler raises must not keep the caller from what it does next.

    log: a method of a logger.
    """
    try:
        log(message, *args, stacklevel=2, **options)
    except BaseException as error:
        leave_to_operator(error)


def text_of(error: BaseException) -> str:
    """Return an exception's text, also of one that cannot tell it."""
    try:
        return str(error)
    except BaseException as failure:
        leave_to_operator(failure)
        return f"<its text cannot be made: {type(failure).__name__}>"
