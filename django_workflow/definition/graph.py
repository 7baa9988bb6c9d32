"""Checks of the graph alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


def find_cycles(depends_on: Mapping[str, Iterable[str]]) -> Iterator[list[str]]:
    """Yield cycles of the dependency graph, each as a path that ends where it began; no two share a step.

    depends_on: step -> the steps it waits for; unknown names and the step itself are ignored.
    """
    dependents: dict[str, list[str]] = {step: [] for step in depends_on}
    for step, sources in depends_on.items():
        for source in sources:
            if source in dependents and source != step:
                dependents[source].append(step)
    seen: set[str] = set()
    for root, first in dependents.items():
        if root in seen:
            continue
        seen.add(root)
        place = {root: 0}
        path = [(root, iter(first))]
        while path:
            step, rest = path[-1]
            following = next(rest, None)
            if following is None:
                path.pop()
                del place[step]
            elif following in place:
                cycle = [name for name, _ in path[place[following] :]]
                yield [*cycle, following]
                # they are in no other cycle: the search goes on before them, so that it looks at each edge once
                del path[place[following] :]
                for name in cycle:
                    del place[name]
            elif following not in seen:
                seen.add(following)
                place[following] = len(path)
                path.append((following, iter(dependents[following])))


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
            step, rest = pending[-1]
            following = next(rest, None)
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
