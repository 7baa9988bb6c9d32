"""The picture of a flow's graph as SVG: what it is made of, and that of a definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django_workflow.definition.elements import MAP, StepSpec
from django_workflow.definition.names import RETRY
from django_workflow.definition.spec import FlowSpec
from django_workflow.display import cut
from django_workflow.statuses import RUNNING
from django_workflow.web.drawing import edge_text
from django_workflow.web.drawing.edge_text import Way
from django_workflow.web.drawing.layout import Box, Line, Picture, layout

#: Size of a node, in units of the picture, which are pixels at its natural size; the template draws with it.
WIDTH, HEIGHT = 204.0, 60.0
BAR_WIDTH = 176.0
#: Characters that fit into a node's title, into the line below, and into a condition.
TITLE_LENGTH, STATE_LENGTH, CONDITION_LENGTH = 19, 25, 34
#: How wide a character of a label is, and of a pill; room for a count; a pill's room besides.
LABEL_CHARACTER, PILL_CHARACTER, COUNT_WIDTH, PILL_MARGIN = 6.4, 5.9, 46.0, 14.0
#: Lines below a node: the first one, and how far the next ones are below it; half the height of a pill.
FIRST_NOTE, NOTE_HEIGHT, PILL_HALF = 75.0, 17.0, 9.0
#: A picture wider than this, or higher than half of it, is not scaled down to fit its place.
LARGE = 1640.0
#: From so many steps on, the table below the picture is folded.
MANY = 24
#: A picture of more steps or edges tells nobody anything, and takes long to make: there is the table.
MOST_STEPS, MOST_EDGES = 300, 1_000
#: Ways that are told of one step.
MOST_WAYS = 20
#: The status of a step in the picture of a definition.
DEFINED: Final = "defined"


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """Widths of the bar in a map's node."""

    done: float
    failed: float


@dataclass(frozen=True, slots=True)
class Note:
    """A line below a node: its condition, or a command that it may lead to."""

    #: Cut to fit.
    label: str
    #: Whole.
    text: str
    y: float
    command: str = ""
    #: How often the command was obeyed, where that is known.
    count: str = ""


@dataclass(frozen=True, slots=True)
class Pill:
    """A word on the upper side of a node."""

    text: str
    x: float
    width: float
    kind: str

    @property
    def middle(self) -> float:
        """Where the word stands."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Node:
    """A step as the picture and the table show it."""

    name: str
    title: str
    full_title: str
    status: str
    #: Which sign tells the status.
    sign: str
    #: Of a map, or of several passes; before the state.
    failures: str
    #: The status in words, with what counts.
    state: str
    description: str
    #: Empty where nothing can be chosen.
    href: str
    x: float
    y: float
    is_map: bool
    is_selected: bool
    #: Of a map: how much is done and how much of that failed.
    bar: ProgressBar | None
    notes: list[Note]
    pills: list[Pill]


@dataclass(frozen=True, slots=True)
class Edge:
    """All transitions between two steps as the picture shows them."""

    path: str
    is_taken: bool
    #: Whether a run took none of them.
    is_dim: bool
    is_back: bool
    label: str
    #: How often they were taken, where that is more than once.
    count: str
    label_x: float
    label_y: float
    description: str


@dataclass(frozen=True, slots=True)
class Graph:
    """A picture: all that the template draws."""

    nodes: list[Node]
    edges: list[Edge]
    width: float
    height: float
    title: str
    start: tuple[float, float]
    edge_count: int = 0
    is_drawn: bool = True

    @property
    def has_many(self) -> bool:
        """Whether the table below it is folded."""
        return self.is_drawn and len(self.nodes) > MANY

    @property
    def is_large(self) -> bool:
        """Whether it is too large to be shown whole."""
        return self.width > LARGE or self.height > LARGE / 2


class Plan:
    """What the pictures of a definition and of its runs have in common: its edges, marks and places."""

    def __init__(self, spec: FlowSpec) -> None:
        self.spec = spec
        self.ways = edge_text.ways_of(spec)
        self.marks = {name: edge_text.marks_of(spec, name) for name in spec.steps}
        self.entries = edge_text.named_entries(spec)
        self.ways_from: dict[str, list[Way]] = {name: [] for name in spec.steps}
        for way in self.ways:
            self.ways_from[way.source].append(way)
        self.is_drawn = len(spec.steps) <= MOST_STEPS and len(self.ways) <= MOST_EDGES
        self.picture = self._lay_out() if self.is_drawn else Picture({}, (), 0.0, 0.0)
        self.lines = {(line.source, line.to): line for line in self.picture.lines}

    def _lay_out(self) -> Picture:
        """Return where everything goes; the same graph is laid out once per process."""
        # where the flow begins first: what leads back there is drawn back
        names = dict.fromkeys((*self.spec.entry, *self.spec.steps))
        labels = tuple(((way.source, way.to), width) for way in self.ways if (width := self._label_width(way)))
        return layout(
            tuple((name, WIDTH, HEIGHT) for name in names),
            tuple((way.source, way.to) for way in self.ways),
            labels,
            tuple((name, *self._margins(name)) for name in names),
            self.spec.entry,
        )

    def box(self, name: str) -> Box:
        """Return where a step stands."""
        return self.picture.boxes[name] if self.is_drawn else Box(name, 0.0, 0.0, WIDTH, HEIGHT, 0)

    def _label_width(self, way: Way) -> float:
        return LABEL_CHARACTER * len(way.label) + (COUNT_WIDTH if way.repeats else 0.0)

    def _margins(self, name: str) -> tuple[float, float]:
        """Return the room above and below a node."""
        notes = len(self.marks[name]) + (self.spec.steps[name].when is not None)
        has_pills = name in self.entries or self.spec.is_join(name) or name in self.spec.repeating
        return PILL_HALF if has_pills else 0.0, NOTE_HEIGHT * notes if notes > 1 else 0.0

    def notes(self, step: StepSpec, retries: int = 0) -> list[Note]:
        """Return the lines below a node; retries: how often it was told to run again."""
        found = []
        if step.when is not None:
            text = f"if {step.when}"
            found.append(Note(cut(text, CONDITION_LENGTH), text, FIRST_NOTE))
        for mark in self.marks[step.name]:
            count = f"×{retries:,}" if mark.command == RETRY and retries else ""
            y = FIRST_NOTE + NOTE_HEIGHT * len(found)
            found.append(Note(mark.label, mark.text, y, mark.command, count))
        return found

    def pills(self, name: str, badge: str = "") -> list[Pill]:
        """Return the words on the upper side of a node; the badge stands at its right."""
        found: list[Pill] = []
        words = [("entry", "start" if name in self.entries else ""), ("join", edge_text.join_of(self.spec, name))]
        x = -6.0
        for kind, word in words:
            if word:
                found.append(_pill(word, kind, x))
                x += found[-1].width + 4
        if badge:
            pill = _pill(badge, "passes", 0.0)
            found.append(Pill(badge, WIDTH + 6 - pill.width, pill.width, pill.kind))
        return found

    def told_ways(self, name: str, counts: Mapping[tuple[str, str], int] | None = None) -> list[str]:
        """Return in words where a step leads, and how often it did; only what the edges alone do not tell."""
        found: list[str] = []
        left_out = 0
        for way in self.ways_from[name]:
            if len(found) == MOST_WAYS:
                left_out += 1
                continue
            count = often(counts.get((name, way.to), 0)) if counts is not None and not self.spec.is_plain else ""
            if way.text or count:
                found.append(f"{way.to}{f' {way.text}' if way.text else ''}{f' ({count})' if count else ''}")
        more = [f"and {left_out:,} more"] if left_out else []
        return [*found, *more, *(f"{mark.command} ({mark.text})" for mark in self.marks[name])]


def _pill(text: str, kind: str, x: float) -> Pill:
    return Pill(text, x, round(PILL_CHARACTER * len(text) + PILL_MARGIN, 1), kind)


def often(count: int) -> str:
    """Return how often an edge was taken, in words."""
    return f"taken {count:,} times" if count > 1 else "taken" if count else ""


def draw_definition(spec: FlowSpec) -> Graph:
    """Return the picture of a definition."""
    plan = Plan(spec)
    nodes = [_defined_node(plan, step, plan.box(name)) for name, step in spec.steps.items()]
    edges = [edge_of(way, plan.lines[way.source, way.to], None) for way in plan.ways] if plan.is_drawn else []
    title = f"Graph of {spec.slug}: {steps_in_words(len(nodes))}"
    return Graph(
        nodes, edges, plan.picture.width, plan.picture.height, title, start_of(nodes),
        edge_count=len(plan.ways), is_drawn=plan.is_drawn,
    )  # fmt: skip


def steps_in_words(count: int) -> str:
    """Return a number of steps in words."""
    return f"{count} step{'s' if count != 1 else ''}"


def _defined_node(plan: Plan, step: StepSpec, box: Box) -> Node:
    title = step.title or step.name
    state = "step"
    if step.kind == MAP:
        state = f"map over {step.over}" if step.over else f"map of {step.count:,}"
    parts = [f"{title}: {state}", *told_of(plan, step)]
    if led := plan.told_ways(step.name):
        parts.append(f"leads to {', '.join(led)}")
    return Node(
        name=step.name, title=cut(title, TITLE_LENGTH), full_title=title, status=DEFINED,
        sign=MAP if step.kind == MAP else "", failures="", state=cut(state, STATE_LENGTH),
        description="; ".join(parts), href="", x=box.x, y=box.y, is_map=step.kind == MAP, is_selected=False, bar=None,
        notes=plan.notes(step), pills=plan.pills(step.name),
    )  # fmt: skip


def told_of(plan: Plan, step: StepSpec) -> list[str]:
    """Return what a definition says of a step besides its transitions."""
    parts = []
    if step.name in plan.entries:
        parts.append("the flow begins here")
    if join := edge_text.join_of(plan.spec, step.name):
        sources = ", ".join(_some(plan.spec.predecessors[step.name]))
        parts.append(f"joins {join} of {sources}" if join == "all" else f"joins {join}: {sources}")
    if step.when is not None:
        parts.append(f"only if {step.when}")
    return parts


def _some(names: Sequence[str]) -> list[str]:
    left_out = len(names) - MOST_WAYS
    return [*names[:MOST_WAYS], f"{left_out:,} more"] if left_out > 0 else list(names)


def start_of(nodes: Sequence[Node]) -> tuple[float, float]:
    """Return the middle of the node to look at first: what failed, what runs, else where the flow begins."""
    for status in ("failed", RUNNING, "queued"):
        for node in nodes:
            if node.status == status:
                return node.x + WIDTH / 2, node.y + HEIGHT / 2
    return (nodes[0].x + WIDTH / 2, nodes[0].y + HEIGHT / 2) if nodes else (0.0, 0.0)


def edge_of(way: Way, line: Line, taken: int | None) -> Edge:
    """Return an edge; taken: how often a run took it, None in the picture of a definition."""
    count = f"×{taken:,}" if taken is not None and taken > 1 else ""
    told = [f"{way.source} to {way.to}", often(taken or 0), way.text]
    return Edge(
        path=line.path,
        is_taken=bool(taken),
        is_dim=taken == 0,
        is_back=line.is_back,
        label=way.label,
        count=count,
        label_x=line.label[0],
        label_y=line.label[1],
        description=", ".join(part for part in told if part),
    )
