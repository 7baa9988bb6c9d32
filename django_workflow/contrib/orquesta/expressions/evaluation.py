"""One evaluation of an expression: what it sees, and how much work it may still do.

Work is counted, so that the same expression on the same data always comes to the same end; the clock is a second
fence, for what a single step of it may cost: that of the thread, which other work on the machine does not slow down.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import threading
import time
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from django_workflow.exceptions import ExpressionError

#: Elements looked at or made by one evaluation; the call of a function counts as `CALL`.
MAX_WORK: Final = 2_000_000
CALL: Final = 60
MAX_SECONDS: Final = 3.0
#: Work between two looks at the clock.
LOOK: Final = 1_000
#: Largest whole number that an operation may come to, about what Python converts from and to text.
MAX_BITS: Final = 16_000
#: Longest text that a function may make.
MAX_TEXT: Final = 2_000_000
MAX_DEPTH: Final = 200
#: Deepest value that an expression may make on the way to its own; Python's own functions follow it level by level.
MAX_DEPTH_WITHIN: Final = 500


class Measure(NamedTuple):
    """How much a value stands for with all its parts: work to look at them, characters at least, and levels."""

    work: int
    length: int
    depth: int = 0


class Evaluation:
    """What one evaluation sees and what work is left to it."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.work_left = MAX_WORK
        self.deadline = time.thread_time() + MAX_SECONDS
        self.looked_at = MAX_WORK
        #: Values in the form that the expression's language needs, by what they are.
        self.prepared: dict[Any, Any] = {}
        #: Measures of values with parts, by identity; the values are kept, so that nothing else takes it.
        self.measures: dict[int, tuple[Any, Measure]] = {}


_of_thread = threading.local()


@contextmanager
def evaluating(expression: str, names: Mapping[str, Any]) -> Iterator[None]:
    """Evaluate `expression` inside; whatever goes wrong there is an `ExpressionError` that names it."""
    before = getattr(_of_thread, "evaluation", None)
    _of_thread.evaluation = Evaluation(names)
    try:
        yield
    except ExpressionError:
        raise
    except Exception as error:
        # any error of an expression is the author's: it is reported, never swallowed
        raise failure(expression, error) from error
    finally:
        _of_thread.evaluation = before


def failure(expression: str, error: Exception) -> ExpressionError:
    """Return the error of an expression that failed."""
    reason = f"there is no {error.args[0]!r}" if isinstance(error, KeyError) and error.args else str(error)
    reason = reason if isinstance(error, LookupError) else f"{type(error).__name__}: {reason}"
    return ExpressionError(f"Expression {shortened(expression)!r} failed: {shortened(reason)}", expression=expression)


def shortened(text: str, limit: int = 500) -> str:
    """Return at most `limit` characters of a text."""
    return text if len(text) <= limit else f"{text[:limit]}…"


def current() -> Evaluation:
    """Return the evaluation of this thread."""
    found: Evaluation = _of_thread.evaluation
    return found


def spend(amount: int) -> None:
    """Count work; raises `ValueError` when there is too much of it."""
    evaluation = current()
    evaluation.work_left -= amount
    if evaluation.work_left < 0:
        raise ValueError(f"it takes more than {MAX_WORK:,} operations")
    if evaluation.work_left < evaluation.looked_at - LOOK:
        evaluation.looked_at = evaluation.work_left
        if time.thread_time() > evaluation.deadline:
            raise ValueError(f"it takes longer than {MAX_SECONDS:g} seconds")


def size(value: Any) -> int:
    """Return how much work a value stands for when it is looked at; a number that is too large is refused."""
    if isinstance(value, str):
        return len(value) // 10
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return len(value)
    if isinstance(value, int):
        whole(value.bit_length())
    return 0


def made(value: Any) -> None:
    """Count a value that was made. One that stands for too much is refused.

    It may hold the same part many times, and each of these again: forty small steps make a value that nobody can
    look at. Measured as it is made, none is there to be compared, hashed or shown.
    """
    spend(size(value))
    measure(value)


def weigh(value: Any) -> int:
    """Count a value that is about to be looked at with all its parts; return how long its text is at least."""
    found = measure(value)
    spend(found.work)
    return found.length


def measure(value: Any) -> Measure:
    """Return how much a value stands for; one that stands for too much is refused."""
    if isinstance(value, str):
        return Measure(1 + len(value) // 10, len(value))
    if isinstance(value, int):
        bits = value.bit_length()
        whole(bits)
        return Measure(1 + bits // 32, 1 + bits * 3 // 10)
    parts = _parts(value)
    if parts is None:
        return Measure(1, 1)
    measures = current().measures
    if id(value) not in measures:
        measures[id(value)] = value, _measure_of(parts)
    return measures[id(value)][1]


def _measure_of(parts: Iterable[Any]) -> Measure:
    work, length, depth = 1, 1, 0
    for part in parts:
        found = measure(part)
        work, length, depth = work + found.work, length + found.length, max(depth, found.depth)
        if work > MAX_WORK:
            raise ValueError(f"a value with more than {MAX_WORK:,} elements")
    if depth >= MAX_DEPTH_WITHIN:
        raise ValueError(f"a value nested deeper than {MAX_DEPTH_WITHIN} levels")
    return Measure(work, length, depth + 1)


def _parts(value: Any) -> Iterable[Any] | None:
    if isinstance(value, Mapping):
        return itertools.chain(value, value.values())
    return value if isinstance(value, _WITH_PARTS) else None


_WITH_PARTS: Final = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)


def whole(bits: int) -> None:
    """Refuse whole numbers that are too large."""
    if bits > MAX_BITS:
        raise ValueError(f"a number of more than {MAX_BITS:,} bits")


def plain(value: Any, depth: int = 0) -> Any:
    """Return an expression's value as JSON, counting its elements; anything that is no JSON is refused."""
    spend(1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        spend(len(value) // 10)
        return str(value)
    if isinstance(value, int):
        whole(value.bit_length())
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no JSON value")
        return value
    if depth > MAX_DEPTH:
        raise ValueError(f"its value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, dt.datetime | dt.timedelta) or not isinstance(value, Iterable):
        raise TypeError(f"it gives a {type(value).__name__}, which is no JSON value; make it a text with str()")
    return [plain(item, depth + 1) for item in value]


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int | float) and not isinstance(key, bool):
        return str(key)
    raise TypeError(f"{key!r} cannot be the name of a value in an object")
