"""The ways of edges as SVG paths. Pure, no Django."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

Point = tuple[float, float]

#: Radius of the corners of edges that lead back.
CORNER = 8.0


def through(points: Sequence[Point]) -> tuple[str, Point]:
    """Return a smooth path from left to right through points, and where its label may stand."""
    x, y = points[0]
    parts = [f"M{x:.1f} {y:.1f}"]
    for (x, y), (next_x, next_y) in itertools.pairwise(points):
        if abs(next_y - y) < 0.5:
            parts.append(f"L{next_x:.1f} {next_y:.1f}")
        else:
            middle = (x + next_x) / 2
            parts.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {next_y:.1f} {next_x:.1f} {next_y:.1f}")
    (x, y), (next_x, next_y) = points[0], points[1]
    return " ".join(parts), (round((x + next_x) / 2, 1), round((y + next_y) / 2, 1))


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
