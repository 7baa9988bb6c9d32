"""What a handler may return instead of an output: outcomes are values, exceptions are for the unexpected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django_workflow import arguments


@dataclass(frozen=True, slots=True)
class Skip:
    """End the step as skipped; its dependents run with this input absent."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fail:
    """Fail the step at once, without further attempts."""

    error: str


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again after `delay`; counts as a failed attempt and overrides the step's backoff."""

    delay: timedelta
    reason: str = "the handler asked to be tried again"

    def __post_init__(self) -> None:
        arguments.duration(self.delay, "RetryAfter")
