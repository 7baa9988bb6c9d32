"""Checks of the graph alone: cycles and reachability."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping


def find_cycle(depends_on: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Return one cycle of the dependency graph as a path that ends where it began, or None.

    depends_on: step -> the steps it waits for; unknown names are ignored.
    """
    known = {
        step: [source for source in sources if source in depends_on and source != step]
        for step, sources in depends_on.items()
    }
    try:
        graphlib.TopologicalSorter(known).prepare()
    except graphlib.CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return None
