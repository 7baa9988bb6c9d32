"""Checks of the graph alone."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Iterator, Mapping


def find_cycles(depends_on: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Yield cycles of the dependency graph, each as a path that ends where it began; no two share a step.

    depends_on: step -> the steps it waits for; unknown names and the step itself are ignored.
    """
    graph = {
        step: {source for source in sources if source in depends_on and source != step}
        for step, sources in depends_on.items()
    }
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            cycle: list[str] = error.args[1]
            yield cycle
            graph = {step: sources.difference(cycle) for step, sources in graph.items() if step not in cycle}
        else:
            return
