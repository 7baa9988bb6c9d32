"""Medians, bootstrap intervals and bounds."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median with the bootstrap interval around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}–{self.high:.2f}]"


def bootstrap(values: Sequence[float]) -> Interval:
    """The median of some values and its percentile bootstrap interval; the same values give the same interval."""
    chance = random.Random(len(values))
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Interval(statistics.median(values), medians[tail], medians[-1 - tail])


@dataclass(frozen=True)
class Bound:
    """What a figure must reach; with `by_interval` it is enough that its interval touches the limit."""

    limit: float
    at_least: bool
    by_interval: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g}"

    def holds(self, figure: Interval) -> bool:
        """Whether a measured figure is within the bound."""
        if self.at_least:
            return (figure.high if self.by_interval else figure.median) >= self.limit
        return (figure.low if self.by_interval else figure.median) <= self.limit


def at_least(limit: float) -> Bound:
    """The median must be this or more."""
    return Bound(limit, at_least=True)


def at_most(limit: float) -> Bound:
    """The median must be this or less."""
    return Bound(limit, at_least=False)


def reaches(limit: float) -> Bound:
    """The upper end of the interval must be this or more."""
    return Bound(limit, at_least=True, by_interval=True)
