"""The layers of a graph: its parts, the edges that lead back, and how far each node is from the beginning. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence


def components(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the parts of the graph that no edge connects, each in declared order."""
    near: dict[str, list[str]] = defaultdict(list)
    for source, to in edges:
        near[source].append(to)
        near[to].append(source)
    part_of: dict[str, int] = {}
    for number, name in enumerate(names):
        pending = [name]
        while pending:
            current = pending.pop()
            if current not in part_of:
                part_of[current] = number
                pending += near[current]
    parts: dict[int, list[str]] = defaultdict(list)
    for name in names:
        parts[part_of[name]].append(name)
    return list(parts.values())


def back_edges(
    names: Sequence[str], edges: Sequence[tuple[str, str]], entries: Sequence[str] = ()
) -> set[tuple[str, str]]:
    """Return edges whose removal leaves no cycle: those to an entry from behind it, then those that a walk finds.

    The walk is depth-first, and begins where nothing leads to.
    """
    out = _followers(edges)
    found: set[tuple[str, str]] = set()
    for entry in entries:
        behind = _behind(entry, out)
        found.update((source, to) for source, to in edges if to == entry and source in behind)
    rest = [edge for edge in edges if edge not in found]
    return found | _walk(names, rest)


def _followers(edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = defaultdict(list)
    for source, to in edges:
        out[source].append(to)
    return out


def _behind(name: str, out: Mapping[str, Sequence[str]]) -> set[str]:
    """Return what a node leads to, itself included."""
    found: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current not in found:
            found.add(current)
            pending += out.get(current, ())
    return found


def _walk(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the edges that a depth-first walk finds to lead back to where it still is."""
    out = _followers(edges)
    has_source = {to for source, to in edges if source != to}
    found: set[tuple[str, str]] = set()
    is_open: dict[str, bool] = {}
    # where the flow begins first, so that what leads back there is what is drawn back
    for root in sorted(names, key=lambda name: name in has_source):
        if root in is_open:
            continue
        is_open[root] = True
        path = [(root, iter(out[root]))]
        while path:
            current, rest = path[-1]
            following = next(rest, None)
            if following is None:
                is_open[current] = False
                path.pop()
            elif is_open.get(following):
                found.add((current, following))
            elif following not in is_open:
                is_open[following] = True
                path.append((following, iter(out[following])))
    return found


def layers_of(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return each node's layer: the length of the longest way to it. The edges have no cycle."""
    out: dict[str, list[str]] = defaultdict(list)
    missing: dict[str, int] = dict.fromkeys(names, 0)
    for source, to in edges:
        out[source].append(to)
        missing[to] += 1
    layer = dict.fromkeys(names, 0)
    ready = [name for name in names if not missing[name]]
    for name in ready:
        for to in out[name]:
            layer[to] = max(layer[to], layer[name] + 1)
            missing[to] -= 1
            if not missing[to]:
                ready.append(to)
    return layer
