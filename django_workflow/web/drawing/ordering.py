"""The order of the nodes within each layer of a picture, so that few edges cross. Pure, no Django."""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

#: Sweeps over the layers; fewer where no edge crosses any more.
SWEEPS = 8


def order_layers(
    layers: Sequence[Sequence[T]], above: Mapping[T, Sequence[T]], below: Mapping[T, Sequence[T]]
) -> list[list[T]]:
    """Return the layers, each sorted by the barycentres of its neighbours; the best of several sweeps."""
    current = [list(cells) for cells in layers]
    best, fewest = current, crossings(current, below)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        current = [list(cells) for cells in current]
        is_down = sweep % 2 == 0
        near = above if is_down else below
        order = range(1, len(current)) if is_down else range(len(current) - 2, -1, -1)
        for number in order:
            fixed = current[number - 1 if is_down else number + 1]
            current[number] = _sorted(current[number], {cell: place for place, cell in enumerate(fixed)}, near)
        found = crossings(current, below)
        if found < fewest:
            best, fewest = current, found
    return best


def _sorted(cells: Sequence[T], places: Mapping[T, int], near: Mapping[T, Sequence[T]]) -> list[T]:
    """Return a layer's cells by the mean place of their neighbours; those without any stay where they are."""
    keys = {}
    for place, cell in enumerate(cells):
        around = near.get(cell, ())
        keys[cell] = sum(places[other] for other in around) / len(around) if around else float(place)
    return sorted(cells, key=keys.__getitem__)


def crossings(layers: Sequence[Sequence[T]], below: Mapping[T, Sequence[T]]) -> int:
    """Count the pairs of edges that cross, layer by layer."""
    count = 0
    for upper, lower in itertools.pairwise(layers):
        places = {cell: place for place, cell in enumerate(lower)}
        seen: list[int] = []
        for cell in upper:
            ends = sorted(places[other] for other in below.get(cell, ()))
            for end in ends:
                count += len(seen) - bisect_right(seen, end)
            for end in ends:
                insort(seen, end)
    return count
