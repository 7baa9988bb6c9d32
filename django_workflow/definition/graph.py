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


def components(successors: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Return the number of each step's strongly connected component: steps that reach each other share one.

    Components come after those that they lead to.

    successors: step -> the steps it leads to. Tarjan's algorithm (SIAM J. Comput. 1, 1972) without recursion.
    """
    numbers: dict[str, int] = {}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    for root in successors:
        if root in order:
            continue
        order[root] = low[root] = len(order)
        path.append(root)
        pending = [(root, iter(successors[root]))]
        while pending:
            step, ways = pending[-1]
            following = next(ways, None)
            if following is None:
                pending.pop()
                if pending:
                    before = pending[-1][0]
                    low[before] = min(low[before], low[step])
                if low[step] == order[step]:
                    while step not in numbers:
                        numbers[path.pop()] = order[step]
            elif following not in order:
                order[following] = low[following] = len(order)
                path.append(following)
                pending.append((following, iter(successors[following])))
            elif following not in numbers:
                low[step] = min(low[step], order[following])
    return numbers


def reachable(successors: Mapping[str, Iterable[str]], begin: Iterable[str]) -> set[str]:
    """Return `begin` and all steps that they lead to; unknown ones lead nowhere."""
    pending = list(begin)
    reached = set(pending)
    while pending:
        for step in successors.get(pending.pop(), ()):
            if step not in reached:
                reached.add(step)
                pending.append(step)
    return reached
