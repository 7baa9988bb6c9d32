"""The ways of edges as SVG paths. Pure, no Django."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

#: Radius of the corners of edges that lead back.
CORNER = 8.0
#: Half the width of an arc, where it leaves and enters, and how high it is.
ARC_FOOT, ARC_HEIGHT = 22.0, 30.0


@dataclass(frozen=True, slots=True)
class Straight:
    """Where the first stretch of an edge is straight, so that its label may stand there.

    is_first: at its beginning, else at its end. bend: how far it takes to bend. clear: what stays free of the label.
    """

    is_first: bool
    bend: float
    clear: float


def through(points: Sequence[Point], straight: Straight | None = None) -> tuple[str, Point]:
    """Return a smooth path from left to right through points, and where its label may stand."""
    x, y = points[0]
    next_x, next_y = points[1]
    label = ((x + next_x) / 2, (y + next_y) / 2)
    if straight is not None:
        corner = (next_x - straight.bend, y) if straight.is_first else (x + straight.bend, next_y)
        points = [points[0], corner, *points[1:]]
        ends = (x + CORNER, corner[0]) if straight.is_first else (corner[0], next_x - straight.clear)
        label = (sum(ends) / 2, corner[1])
    parts = [f"M{x:.1f} {y:.1f}"]
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        if abs(next_y - y) < 0.5:
            parts.append(f"L{next_x:.1f} {next_y:.1f}")
        else:
            middle = (x + next_x) / 2
            parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {next_y:.1f} {next_x:.1f} {next_y:.1f}")
    return " ".join(parts), (round(label[0], 1), round(label[1], 1))


def around(start: Point, end: Point, bottom: float, reach: float) -> tuple[str, Point]:
    """Return a path that leaves to the right, goes back below everything and enters from the left.

    bottom: how deep it goes. reach: how far to the right and to the left it goes before it turns.
    """
    right, left = start[0] + reach, end[0] - reach
    corner = min(CORNER, reach, max(1.0, (bottom - start[1]) / 2), max(1.0, (bottom - end[1]) / 2))
    path = (
        f"M{start[0]:.1f} {start[1]:.1f}"
        f" H{right - corner:.1f} Q{right:.1f} {start[1]:.1f} {right:.1f} {start[1] + corner:.1f}"
        f" V{bottom - corner:.1f} Q{right:.1f} {bottom:.1f} {right - corner:.1f} {bottom:.1f}"
        f" H{left + corner:.1f} Q{left:.1f} {bottom:.1f} {left:.1f} {bottom - corner:.1f}"
        f" V{end[1] + corner:.1f} Q{left:.1f} {end[1]:.1f} {left + corner:.1f} {end[1]:.1f}"
        f" H{end[0]:.1f}"
    )
    return path, (round((left + right) / 2, 1), round(bottom, 1))


def arc(top: Point) -> tuple[str, Point]:
    """Return a path from a node to itself, over the middle of its upper side."""
    x, y = top
    # the highest point of such a curve is at three quarters of its control points
    high = y - ARC_HEIGHT / 0.75
    right, left = x + ARC_FOOT, x - ARC_FOOT
    path = f"M{right:.1f} {y:.1f} C{right:.1f} {high:.1f} {left:.1f} {high:.1f} {left:.1f} {y:.1f}"
    return path, (round(x, 1), round(y - ARC_HEIGHT, 1))
