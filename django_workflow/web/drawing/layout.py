"""Where the nodes and edges of a flow's picture go: layered, from left to right. Pure, no Django.

The steps are those of K. Sugiyama, S. Tagawa and M. Toda, "Methods for Visual Understanding of Hierarchical System
Structures" (1981): cut cycles, layer by longest path, put dummy nodes on long edges, reduce crossings by barycentres,
then give coordinates. These are exact for each layer: the places nearest to the neighbours' that keep the distances,
by isotonic regression (M. Ayer et al., 1955). Everything is deterministic.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from django_workflow.web.drawing import routes
from django_workflow.web.drawing.layers import back_edges, components, layers_of
from django_workflow.web.drawing.ordering import order_layers

#: Room between the columns, between nodes of a column, and around all of it.
GAP_X = 72.0
GAP_Y = 34.0
MARGIN = 24.0
#: Room between edges that pass between nodes, and between those that have a label.
LANE = 14.0
LABELLED_LANE = 28.0
#: How far a labelled edge takes to bend, and the room its label keeps from the node it leads to.
BEND, CLEAR = 44.0, 14.0
#: Edges that lead back turn so far from their ends, each a little further than the one before, and as far apart below.
TURN, FURTHER, BACK_LANE = 16.0, 7.0, 22.0
#: The most of them that are told apart so.
TURNS = 4
#: The height of an arc from a node to itself, with its label.
ARC = 40.0
#: Sweeps that move nodes towards their neighbours.
STRAIGHTENING = 6
#: Columns for nodes without edges.
LONERS_PER_ROW = 5


@dataclass(frozen=True, slots=True)
class Box:
    """A node's place: its top left corner and its size."""

    name: str
    x: float
    y: float
    width: float
    height: float
    layer: int


@dataclass(frozen=True, slots=True)
class Line:
    """An edge's way: `path` is an SVG path, `label` the middle of a word that stands on it.

    is_back: it leads back to a step before its source, and is drawn around below, or to its source itself: as an arc.
    """

    source: str
    to: str
    path: str
    label: tuple[float, float]
    is_back: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes by name and lines in the order of the edges, within `width` and `height`."""

    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]
    width: float
    height: float


@lru_cache(maxsize=64)
def layout(
    nodes: tuple[tuple[str, float, float], ...],
    edges: tuple[tuple[str, str], ...],
    labels: tuple[tuple[tuple[str, str], float], ...] = (),
    margins: tuple[tuple[str, float, float], ...] = (),
    entries: tuple[str, ...] = (),
) -> Picture:
    """Return the picture of a graph.

    nodes: name, width and height of each, in declared order. edges: pairs of names; loops may be among them.
    labels: how wide the labels of edges are. margins: room that nodes need above and below them.
    entries: where it begins; a loop that passes there leads back there.
    """
    names = [name for name, _, _ in nodes]
    room = {name: (above, below) for name, above, below in margins}
    for source, to in edges:
        if source == to:
            above, below = room.get(source, (0.0, 0.0))
            room[source] = (max(above, ARC), below)
    sizes = {name: (width, height) for name, width, height in nodes}
    graph = _Graph(sizes, list(dict.fromkeys(edges)), dict(labels), room, entries)
    parts = components(names, graph.edges)
    big = [part for part in parts if len(part) > 1]
    loners = [part[0] for part in parts if len(part) == 1]
    bottom = 0.0
    for part in big:
        bottom = graph.place(part, bottom + (2 * GAP_Y if bottom else MARGIN))
    if loners:
        bottom = graph.place_loners(loners, bottom + (2 * GAP_Y if bottom else MARGIN))
    return graph.picture(names, bottom)


@dataclass(slots=True)
class _Graph:
    """A graph that is being placed, part by part.

    points: of each edge, the places it passes between its ends. back: how deep an edge that leads back goes, and how
    far it turns from its ends. straight: which end of its first stretch a labelled edge is straight at, and how far.
    """

    sizes: dict[str, tuple[float, float]]
    edges: list[tuple[str, str]]
    labels: Mapping[tuple[str, str], float]
    room: Mapping[str, tuple[float, float]]
    entries: Sequence[str]
    boxes: dict[str, Box] = field(default_factory=dict)
    points: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    back: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    straight: dict[tuple[str, str], routes.Straight] = field(default_factory=dict)

    def place(self, part: Sequence[str], top: float) -> float:
        """Place one connected part below `top`; return where it ends."""
        members = set(part)
        edges = [edge for edge in self.edges if edge[0] in members and edge[0] != edge[1]]
        back = back_edges(part, edges, [name for name in self.entries if name in members])
        forward = [edge for edge in edges if edge not in back]
        layer = layers_of(part, forward)
        grid = _Grid(self, part, forward, layer)
        ys = grid.coordinates()
        columns = grid.columns({to for _, to in back})
        shift = top - min(ys[cell] - grid.above_of(cell) for cell in ys)
        bottom = top
        for name in part:
            width, height = self.sizes[name]
            left, column_width = columns[layer[name]]
            y = ys[name] + shift
            bottom = max(bottom, y + grid.below_of(name))
            self.boxes[name] = Box(name, left + (column_width - width) / 2, y - height / 2, width, height, layer[name])
        for edge, cells in grid.chains.items():
            self.points[edge] = [
                point
                for cell in cells
                for point in (
                    (columns[cell[2]][0], ys[cell] + shift),
                    (columns[cell[2]][0] + columns[cell[2]][1], ys[cell] + shift),
                )
            ]
            bottom = max([bottom, *(y for _, y in self.points[edge])])
        self.straighten(forward, back)
        return self.lead_back([edge for edge in edges if edge in back], layer, bottom)

    def straighten(self, forward: Sequence[tuple[str, str]], back: set[tuple[str, str]]) -> None:
        """Choose where labelled edges are straight: at the end at which fewer of them meet."""
        leaving, reaching = Counter(source for source, _ in forward), Counter(to for _, to in forward)
        turning, entered = {source for source, _ in back}, {to for _, to in back}
        for edge in forward:
            if edge not in self.labels:
                continue
            source, to = edge
            is_first = leaving[source] == 1 and reaching[to] > 1 and source not in turning and edge not in self.points
            clear = CLEAR + (TURN + FURTHER * TURNS if to in entered and edge not in self.points else 0.0)
            self.straight[edge] = routes.Straight(is_first, BEND, clear)

    def lead_back(self, edges: Sequence[tuple[str, str]], layer: Mapping[str, int], bottom: float) -> float:
        """Give edges that lead back their lanes below all nodes, the shorter ones above; return where they end."""
        for number, (source, to) in enumerate(sorted(edges, key=lambda edge: layer[edge[0]] - layer[edge[1]])):
            bottom += BACK_LANE
            self.back[source, to] = bottom, TURN + FURTHER * (number % TURNS)
        return bottom

    def place_loners(self, loners: Sequence[str], top: float) -> float:
        """Place nodes without edges in rows."""
        x, bottom, row_top = MARGIN, top, top
        for number, name in enumerate(loners):
            if number % LONERS_PER_ROW == 0:
                x, row_top = MARGIN, bottom + (GAP_Y if number else 0.0)
                row = loners[number : number + LONERS_PER_ROW]
                row_top += max(self.room.get(other, (0.0, 0.0))[0] for other in row)
            width, height = self.sizes[name]
            self.boxes[name] = Box(name, x, row_top, width, height, 0)
            x += width + GAP_X
            bottom = max(bottom, row_top + height + self.room.get(name, (0.0, 0.0))[1])
        return bottom

    def picture(self, names: Sequence[str], bottom: float) -> Picture:
        """Return what was placed, with the ways of the edges drawn."""
        boxes = {name: self.boxes[name] for name in names}
        lines = [self.line(edge, boxes) for edge in self.edges]
        right = max((box.x + box.width for box in boxes.values()), default=0.0)
        reach = max((reach for _, reach in self.back.values()), default=0.0)
        return Picture(boxes, tuple(lines), round(right + reach + MARGIN, 1), round(bottom + MARGIN, 1))

    def line(self, edge: tuple[str, str], boxes: Mapping[str, Box]) -> Line:
        """Return the way of an edge."""
        source, to = boxes[edge[0]], boxes[edge[1]]
        if source is to:
            path, label = routes.arc((source.x + source.width / 2, source.y))
            return Line(*edge, path, label, is_back=True)
        start = (source.x + source.width, source.y + source.height / 2)
        end = (to.x, to.y + to.height / 2)
        if edge in self.back:
            path, label = routes.around(start, end, *self.back[edge])
            return Line(*edge, path, label, is_back=True)
        path, label = routes.through([start, *self.points.get(edge, []), end], self.straight.get(edge))
        return Line(*edge, path, label)


#: A dummy's name: the edge it belongs to, and its layer.
Dummy = tuple[str, str, int]
Cell = str | Dummy


class _Grid:
    """The layers of one part, with a dummy wherever an edge passes a layer."""

    def __init__(
        self, graph: _Graph, names: Sequence[str], edges: Sequence[tuple[str, str]], layer: Mapping[str, int]
    ) -> None:
        self.sizes = graph.sizes
        self.labels = graph.labels
        self.room = graph.room
        self.layer = layer
        self.edges = edges
        self.layers: list[list[Cell]] = [[] for _ in range(max(layer.values()) + 1)]
        self.chains: dict[tuple[str, str], list[Dummy]] = {}
        self.above: dict[Cell, list[Cell]] = defaultdict(list)
        self.below: dict[Cell, list[Cell]] = defaultdict(list)
        for name in names:
            self.layers[layer[name]].append(name)
        for source, to in edges:
            chain: list[Dummy] = [(source, to, number) for number in range(layer[source] + 1, layer[to])]
            if chain:
                self.chains[source, to] = chain
            for dummy in chain:
                self.layers[dummy[2]].append(dummy)
            way: list[Cell] = [source, *chain, to]
            for first, second in itertools.pairwise(way):
                self.below[first].append(second)
                self.above[second].append(first)
        self.layers = order_layers(self.layers, self.above, self.below)

    def above_of(self, cell: Cell) -> float:
        """Return the room a cell takes above its middle."""
        if isinstance(cell, str):
            return self.sizes[cell][1] / 2 + self.room.get(cell, (0.0, 0.0))[0]
        return (LABELLED_LANE if cell[:2] in self.labels else LANE) / 2

    def below_of(self, cell: Cell) -> float:
        """Return the room a cell takes below its middle."""
        if isinstance(cell, str):
            return self.sizes[cell][1] / 2 + self.room.get(cell, (0.0, 0.0))[1]
        return (LABELLED_LANE if cell[:2] in self.labels else LANE) / 2

    def columns(self, entered: Collection[str]) -> list[tuple[float, float]]:
        """Return left edge and width of each layer's column; `entered` are nodes that edges lead back to."""
        found = []
        turns = TURN + FURTHER * TURNS
        are_entered = [any(cell in entered for cell in cells) for cells in self.layers]
        wide: dict[int, float] = defaultdict(float)
        for edge in self.edges:
            if edge in self.labels:
                layer = self.layer[edge[0]]
                wide[layer] = max(wide[layer], BEND + self.labels[edge] + 2 * CLEAR)
        left = MARGIN + (turns - MARGIN if are_entered[0] else 0.0)
        for number, cells in enumerate(self.layers):
            width = max(self.sizes[cell][0] for cell in cells if isinstance(cell, str))
            found.append((left, width))
            # many edges between two columns need room to be told apart
            gap = max(GAP_X + min(60.0, 2.0 * sum(len(self.below[cell]) for cell in cells)), wide[number])
            left += width + gap + (turns if number + 1 < len(self.layers) and are_entered[number + 1] else 0.0)
        return found

    def coordinates(self) -> dict[Cell, float]:
        """Return the middle of each cell, by sweeps that move every layer towards its neighbours."""
        ys: dict[Cell, float] = {}
        for cells in self.layers:
            y = 0.0
            for cell, distance in zip(cells, [0.0, *self.distances(cells)], strict=True):
                y += distance
                ys[cell] = y
        for sweep in range(STRAIGHTENING):
            is_down = sweep % 2 == 0
            both = sweep >= STRAIGHTENING - 2
            for cells in self.layers if is_down else reversed(self.layers):
                wanted, weights = [], []
                for cell in cells:
                    near = (self.above[cell] if is_down or both else []) + (
                        self.below[cell] if both or not is_down else []
                    )
                    mean, weight = self.pull(cell, near, ys)
                    wanted.append(mean)
                    weights.append(weight)
                ys.update(zip(cells, spread(wanted, weights, self.distances(cells)), strict=True))
        return ys

    def pull(self, cell: Cell, near: Sequence[Cell], ys: Mapping[Cell, float]) -> tuple[float, float]:
        """Return where its neighbours pull a cell, and how strongly: long edges are to be straight."""
        if not near:
            return ys[cell], 0.2
        is_dummy = not isinstance(cell, str)
        total = weight = 0.0
        for other in near:
            strength = 4.0 if is_dummy and not isinstance(other, str) else 1.0
            total += strength * ys[other]
            weight += strength
        return total / weight, weight

    def distances(self, cells: Sequence[Cell]) -> list[float]:
        """Return the least distances between the middles of neighbours in a layer."""
        return [
            self.below_of(upper)
            + self.above_of(lower)
            + (GAP_Y if isinstance(upper, str) or isinstance(lower, str) else 0.0)
            for upper, lower in itertools.pairwise(cells)
        ]


def spread(wanted: Sequence[float], weights: Sequence[float], distances: Sequence[float]) -> list[float]:
    """Return the places nearest to the wanted ones (least weighted squares) that keep order and distances.

    Pool adjacent violators: places less the distances before them must not decrease.
    """
    offsets = [0.0]
    for distance in distances:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, float, int]] = []
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, total, count = want - offset, weight, 1
        while pools and pools[-1][0] > mean:
            before, before_total, before_count = pools.pop()
            mean = (mean * total + before * before_total) / (total + before_total)
            total += before_total
            count += before_count
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
