"""What a measure is, how its rounds are played, and what comes out of them."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from .contenders import OURS, Contender
from .stage import RoundFailed, Stage
from .stats import Bound, Interval, bootstrap

ROUNDS = 5

Play = Callable[[Stage, Contender], float]


@dataclass(frozen=True)
class Peer:
    """Somebody ours is compared with: ratio = our figure / theirs, which must keep a bound."""

    contender: Contender
    play: Play
    bound: Bound | None = None


@dataclass(frozen=True)
class Measure:
    """One figure of ours, measured in turn with the same figure of each peer."""

    name: str
    title: str
    unit: str
    play: Play
    peers: tuple[Peer, ...] = ()
    must: Bound | None = None
    aim: Bound | None = None
    ours: Contender = OURS


@dataclass
class Row:
    """One line of the report: a measure of ours, alone or against one peer."""

    measure: Measure
    values: list[float]
    peer: Peer | None = None
    peer_values: list[float] = field(default_factory=list)

    @property
    def figure(self) -> Interval | None:
        """What the bound is about: the ratio, or our own figure when there is no peer."""
        if self.peer is None:
            return bootstrap(self.values)
        pairs = zip(self.values, self.peer_values, strict=True)
        ratios = [ours / theirs for ours, theirs in pairs if not isnan(theirs)]  # a round the peer lost
        return bootstrap(ratios) if ratios else None

    @property
    def bound(self) -> Bound | None:
        """What must be reached."""
        return self.peer.bound if self.peer else self.measure.must

    @property
    def verdict(self) -> str:
        """Pass, miss, or a dash where nothing binds."""
        if self.bound is None:
            return "–"
        return "pass" if self.figure and self.bound.holds(self.figure) else "MISS"

    def as_json(self) -> dict[str, Any]:
        """The row with every value of every round."""
        return {
            "name": self.measure.name,
            "title": self.measure.title,
            "unit": self.measure.unit,
            "ours": self.values,
            "peer": self.peer.contender.name if self.peer else None,
            "theirs": self.peer_values,
            "figure": vars(self.figure) if self.figure else None,
            "bound": str(self.bound) if self.bound else None,
            "aim": str(self.measure.aim) if self.measure.aim else None,
            "verdict": self.verdict,
        }


def play_rounds(stage: Stage, measure: Measure, rounds: int = ROUNDS) -> list[Row]:
    """Play all rounds, ours and each peer in turn, so that a drift of the machine meets everybody alike.

    Every other round goes backwards: nobody always plays first.
    """
    own = Row(measure, [])
    rows = [Row(measure, own.values, peer) for peer in measure.peers]
    for number in range(1, rounds + 1):
        turns = [own, *rows] if number % 2 else [*reversed(rows), own]
        said = [play_turn(stage, row) for row in turns]
        sys.stderr.write(f"{measure.name} {number}/{rounds}: {', '.join(said)}\n")
    return [own, *rows] if measure.must or measure.aim or not rows else rows


def play_turn(stage: Stage, row: Row) -> str:
    """Play one round of a row's peer, or of ours; say what came out."""
    if row.peer is None:
        row.values.append(row.measure.play(stage, row.measure.ours))
        return f"ours {amount(row.values[-1], row.measure.unit)}"
    row.peer_values.append(play_peer(stage, row.peer))
    return f"{row.peer.contender.name} {amount(row.peer_values[-1], row.measure.unit)}"


def play_peer(stage: Stage, peer: Peer) -> float:
    """One round of a peer; NaN if it failed, which costs the ratio a round and not the whole run."""
    try:
        return peer.play(stage, peer.contender)
    except RoundFailed as error:
        sys.stderr.write(f"{error}\n")
        return float("nan")


def amount(value: float, unit: str) -> str:
    """A value with its unit, in as many digits as it deserves."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{unit}"


def middle(values: Sequence[float]) -> float:
    """The median of the rounds that were not lost."""
    kept = [value for value in values if not isnan(value)]
    return statistics.median(kept) if kept else float("nan")


def table(rows: Sequence[Row]) -> str:
    """The report as aligned text."""
    head = ("name", "ours", "peer", "theirs", "ratio", "must", "")
    lines = [head, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(text)


def cells(row: Row) -> tuple[str, ...]:
    """One row's cells; the interval stands beside what the bound is about."""
    unit = row.measure.unit
    ours = amount(middle(row.values), unit)
    bound = f"{row.bound or ''}"
    if row.peer is None:
        own = bootstrap(row.values)
        aim = f"aim {row.measure.aim}" if row.measure.aim else ""
        interval = f"{ours} [{amount(own.low, '')}–{amount(own.high, '')}]"
        return (row.measure.name, interval, "", "", aim, bound, row.verdict)
    theirs = amount(middle(row.peer_values), unit)
    return (row.measure.name, ours, row.peer.contender.name, theirs, f"{row.figure or 'lost'}", bound, row.verdict)
