"""How often and how soon a failed attempt is repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Literal, get_args

Growth = Literal["exponential", "linear", "constant"]
STRATEGIES: tuple[str, ...] = get_args(Growth)
Strategy = Growth | Callable[[int], timedelta]


@dataclass(frozen=True)
class Retry:
    """Retry policy of a step; what is left out is inherited from the flow, then from the settings.

    max_attempts: failures allowed before the step fails, 3 by default.
    strategy: "exponential" (default), "linear", "constant", or a function of the number of failures
        that returns the delay.
    base, factor, cap: the first delay (1 s), its growth (2), and the longest delay (5 min).
    jitter: draw the delay between zero and the computed one (full jitter), True by default.
    retry_on, give_up_on: exception classes; only those are retried, those never are.
    """

    max_attempts: int | None = None
    strategy: Strategy | None = None
    base: timedelta | None = None
    factor: float | None = None
    cap: timedelta | None = None
    jitter: bool | None = None
    retry_on: tuple[type[BaseException], ...] | None = None
    give_up_on: tuple[type[BaseException], ...] | None = None

    def declared(self) -> dict[str, Any]:
        """Return only what this policy sets, as JSON-able data; a callable strategy stays a callable."""
        data: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if isinstance(value, timedelta):
                value = value.total_seconds()
            elif item.name in ("retry_on", "give_up_on"):
                classes = value if isinstance(value, tuple | list | set | frozenset) else (value,)
                value = sorted((class_name(cls) if _is_exception(cls) else cls for cls in classes), key=str)
            data[item.name] = value
        return data


def declared(policy: Retry | Mapping[str, Any]) -> dict[str, Any]:
    """Return what a policy says, times in seconds."""
    if isinstance(policy, Retry):
        return policy.declared()
    return {key: value.total_seconds() if isinstance(value, timedelta) else value for key, value in policy.items()}


#: What may be an expression in a flow of another language: the worker evaluates it at the end of an attempt. Where
#: `max_attempts` is one, it gives how many attempts may follow the first.
NUMBERS = ("max_attempts", "base")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A retry policy with every value decided; delays in seconds."""

    max_attempts: int = 3
    strategy: str = "exponential"
    base: float = 1.0
    factor: float = 2.0
    cap: float = 300.0
    jitter: bool = True
    retry_on: tuple[str, ...] = ()
    give_up_on: tuple[str, ...] = ()

    @classmethod
    def of(cls, *layers: Mapping[str, Any]) -> RetryPolicy:
        """Merge `layers` of declared values, the later ones winning, over the defaults."""
        merged: dict[str, Any] = {}
        for layer in layers:
            merged.update(layer)
        for name in ("retry_on", "give_up_on"):
            if name in merged:
                merged[name] = tuple(merged[name])
        return cls(**merged)

    def wants(self, exception_classes: tuple[str, ...]) -> bool:
        """Say whether an exception with these class names (its MRO) may be retried."""
        if any(name in self.give_up_on for name in exception_classes):
            return False
        return not self.retry_on or any(name in self.retry_on for name in exception_classes)

    def delay(self, failures: int, strategy: Callable[[int], timedelta] | None = None) -> float:
        """Return the seconds to wait after `failures` failed attempts.

        Exponential with full jitter follows M. Brooker, "Exponential Backoff And Jitter" (2015):
        uniform between 0 and min(cap, base * factor^(failures - 1)).
        """
        if strategy is not None:
            # what it sets in its context (variables, language, time zone) is for nobody else
            return max(0.0, copy_context().run(strategy, failures).total_seconds())
        computed = min(self.cap, self._growth(failures))
        return random.uniform(0.0, computed) if self.jitter else computed  # noqa: S311  not a secret

    def _growth(self, failures: int) -> float:
        if self.strategy == "exponential":
            try:
                return self.base * float(self.factor) ** (failures - 1)
            except OverflowError:
                return self.cap
        return self.base * failures if self.strategy == "linear" else self.base


def _is_exception(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, BaseException)


def class_name(cls: type) -> str:
    """Return the importable name of an exception class, as retry rules and error records use it."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def class_names(error: BaseException) -> tuple[str, ...]:
    """Return the names of an exception's class and of its base classes, nearest first."""
    return tuple(class_name(cls) for cls in type(error).__mro__ if cls is not object)
