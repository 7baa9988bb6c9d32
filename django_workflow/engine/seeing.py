"""What the expressions of a decision see, and how their mistakes are told apart from data that cannot be read. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from django_workflow.definition.language import Language, Lazy
from django_workflow.definition.spec import LONGEST_TIME
from django_workflow.engine.decisions import Visible
from django_workflow.exceptions import ExpressionError, UnregisteredHandler

T = TypeVar("T")


class Names(Lazy):
    """Names that remember why one could not be read."""

    @property
    def failure(self) -> Exception | None:
        """Why data could not be read, where that happened."""
        if self._failure is not None:
            return self._failure
        outputs = self._known.get("outputs")
        return outputs.failure if isinstance(outputs, Visible) else None

    _failure: Exception | None = None

    def add_reader(self, name: str, reader: Callable[[], Any]) -> None:
        """Add a name that is read when it is asked for."""
        self._readers[name] = reader

    def __getitem__(self, name: str) -> Any:
        if name not in self._known and name not in self._readers:
            raise KeyError(name)
        try:
            return super().__getitem__(name)
        except Exception as failure:
            self._failure = failure
            raise


def evaluated(place: str, names: Names, work: Callable[[], T]) -> T:
    """Do the work of an expression; an error of it names its place."""
    try:
        return work()
    except UnregisteredHandler:
        raise
    except Exception as error:
        if names.failure is not None:
            # the data could not be read, which says nothing about the expression
            raise names.failure from None
        what = error.message if isinstance(error, ExpressionError) else f"{type(error).__name__}: {error}"
        raise ExpressionError(f"{place}: {what}", expression=getattr(error, "expression", "")) from error


def seconds(delay: float | str | None, place: str, names: Names, language: Language) -> float:
    """Return a delay in seconds; text is an expression that gives it."""
    value: Any = delay
    if isinstance(delay, str):
        value = evaluated(place, names, lambda: language.value(delay, names))
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not (value >= 0 and math.isfinite(value)):
        raise ExpressionError(f"{place}: a number of seconds from 0 is needed, not {value!r}", expression=str(delay))
    if value > LONGEST_TIME.total_seconds():
        raise ExpressionError(
            f"{place}: it may be at most {LONGEST_TIME.days} days, not {value!r} s", expression=str(delay)
        )
    return float(value)
