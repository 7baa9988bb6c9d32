"""The picture of a run: its flow's graph with the state of every step, as SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width

from django_workflow.definition.spec import DEPENDENCY_OUTCOMES, SINGLE, StepSpec, TransitionSpec
from django_workflow.statuses import RUNNING
from django_workflow.templatetags.django_workflow import SIGNS, duration
from django_workflow.web import waiting
from django_workflow.web.address import Address
from django_workflow.web.layout import Box, Line, Picture, layout
from django_workflow.web.run_facts import NOT_REACHED, Facts, StepFacts

#: Size of a node, in units of the picture, which are pixels at its natural size; the template draws with it.
WIDTH, HEIGHT = 204.0, 60.0
BAR_WIDTH = 176.0
#: Characters that fit into a node's title, into the line below, and into a condition.
TITLE_LENGTH, STATE_LENGTH, CONDITION_LENGTH = 19, 25, 34
#: A picture wider than this, or higher than half of it, is not scaled down to fit its place.
LARGE = 1640.0
#: From so many steps on, the table below the picture is folded.
MANY = 24


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """Widths of the bar in a map's node."""

    done: float
    failed: float


@dataclass(frozen=True, slots=True)
class Node:
    """A step as the picture and the table show it.

    state: the status in words, with what counts; sign: the same as a sign. failures: of a map, before the state.
    bar: of a map, how much is done and how much of that failed.
    """

    name: str
    title: str
    full_title: str
    status: str
    sign: str
    failures: str
    state: str
    description: str
    href: str
    x: float
    y: float
    is_map: bool
    is_selected: bool
    bar: ProgressBar | None
    condition: str
    full_condition: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A transition as the picture shows it."""

    path: str
    is_taken: bool
    is_back: bool
    label: str
    label_x: float
    label_y: float
    description: str


@dataclass(frozen=True, slots=True)
class Row:
    """A step as the table below the picture tells it."""

    node: Node
    kind: str
    facts: StepFacts
    done: str
    failed: int
    why: str
    is_carried: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """All that the template draws."""

    nodes: list[Node]
    edges: list[Edge]
    rows: list[Row]
    width: float
    height: float
    title: str
    has_many: bool
    start: tuple[float, float]

    @property
    def is_large(self) -> bool:
        """Whether it is too large to be shown whole."""
        return self.width > LARGE or self.height > LARGE / 2


def draw(facts: Facts, address: Address, selected: str) -> Graph:
    """Return the picture of a run and the table with the same content."""
    picture = picture_of(facts)
    nodes = [_node(facts, step, picture.boxes[name], address, selected) for name, step in facts.spec.steps.items()]
    lines = {(line.source, line.to): line for line in picture.lines}
    edges = [_edge(facts, item, lines[item.source, item.to]) for item in facts.spec.transitions]
    # what was taken is drawn last, above the rest
    edges.sort(key=lambda edge: edge.is_taken)
    rows = [_row(facts, node) for node in nodes]
    counts: dict[str, int] = {}
    for node in nodes:
        word = node.status.replace("_", " ")
        counts[word] = counts.get(word, 0) + 1
    told = ", ".join(f"{count} {word}" for word, count in counts.items())
    title = f"Graph of {facts.run.flow.slug}: {len(nodes)} step{'s' if len(nodes) != 1 else ''}, {told}"
    return Graph(nodes, edges, rows, picture.width, picture.height, title, len(nodes) > MANY, _start(nodes))


def _start(nodes: list[Node]) -> tuple[float, float]:
    """Return the middle of the node to look at first: what failed, what runs, else where the flow begins."""
    for status in ("failed", RUNNING, "queued"):
        for node in nodes:
            if node.status == status:
                return node.x + WIDTH / 2, node.y + HEIGHT / 2
    return (nodes[0].x + WIDTH / 2, nodes[0].y + HEIGHT / 2) if nodes else (0.0, 0.0)


def picture_of(facts: Facts) -> Picture:
    """Return where everything goes; the same graph is laid out once per process."""
    # where the flow begins first: what leads back there is drawn back
    names = dict.fromkeys((*facts.spec.entry, *facts.spec.steps))
    return layout(
        tuple((name, WIDTH, HEIGHT) for name in names),
        tuple((item.source, item.to) for item in facts.spec.transitions),
    )


def _node(facts: Facts, step: StepSpec, box: Box, address: Address, selected: str) -> Node:
    state = facts.steps[step.name]
    title = step.title or step.name
    failures, words = state_of(facts, state)
    condition = "" if step.when is None else f"if {step.when}"
    return Node(
        name=step.name,
        title=fitted(title, TITLE_LENGTH),
        full_title=title,
        status=state.shown,
        sign=SIGNS.get(state.shown, "·"),
        failures=failures,
        state=fitted(words, STATE_LENGTH - len(failures)),
        description=_description(facts, state, title, words),
        href=address.of_step(step.name),
        x=box.x,
        y=box.y,
        is_map=state.is_map,
        is_selected=step.name == selected,
        bar=_progress(state) if state.is_map and state.task_count else None,
        condition=fitted(condition, CONDITION_LENGTH),
        full_condition=condition,
    )


def _progress(step: StepFacts) -> ProgressBar:
    share = BAR_WIDTH / step.task_count
    return ProgressBar(round(share * step.done, 1), round(share * step.failed_count, 1))


def state_of(facts: Facts, step: StepFacts) -> tuple[str, str]:
    """Return what a map says of its failures, and a step's status in words, with its counts."""
    if step.status == NOT_REACHED:
        return "", "not reached"
    failures = f"{step.failed_count:,} failed" if step.failed_count and step.is_map else ""
    parts = [] if failures else [step.shown.replace("_", " ")]
    if step.is_map and step.task_count:
        parts.append(f"{step.done:,}/{step.task_count:,}")
    took = step.duration(facts.now)
    if took is not None and (step.is_settled or step.status == RUNNING) and not step.is_map:
        parts.append(duration(took))
    if step.passes > 1:
        parts.append(f"×{step.passes}")
    return failures, " · ".join(parts)


def _description(facts: Facts, step: StepFacts, title: str, words: str) -> str:
    """Return what the picture says of a step, for those who do not see it."""
    status = step.shown.replace("_", " ")
    parts = [f"{title}: {status}"]
    if step.is_map and step.task_count:
        parts.append(f"{step.done:,} of {step.task_count:,} tasks done")
        if step.failed_count:
            parts.append(f"{step.failed_count:,} failed")
    elif step.status != NOT_REACHED and words != status:
        parts.append(words)
    if step.passes > 1:
        parts.append(f"activated {step.passes} times")
    if why := waiting.of_step(facts, step):
        parts.append(why.rstrip("."))
    return "; ".join(parts)


def _edge(facts: Facts, item: TransitionSpec, line: Line) -> Edge:
    is_taken = facts.is_taken(item.source, item.to, item.on)
    label = "" if item.on == DEPENDENCY_OUTCOMES else f"on {' or '.join(item.on)}"
    passes = facts.steps[item.to].passes
    if line.is_back and passes > 1:
        label = f"{label} ×{passes - 1}".strip()
        is_taken = True
    description = f"{item.source} to {item.to}{', taken' if is_taken else ''}{f', {label}' if label else ''}"
    return Edge(line.path, is_taken, line.is_back, label, *line.label, description)


def _row(facts: Facts, node: Node) -> Row:
    step = facts.steps[node.name]
    spec = facts.spec.steps[node.name]
    done = f"{step.done:,} of {step.task_count:,}" if step.is_map and step.task_count else ""
    kind = "step" if spec.kind == SINGLE else spec.kind
    why = waiting.of_step(facts, step)
    if not why and step.reason:
        why = REASONS.get(step.reason, step.reason)
    if not why and step.error and step.error.get("class"):
        why = str(step.error["class"])
    return Row(node, kind, step, done, step.failed_count, why, facts.is_carried(step))


#: What the engine's reasons for a skip mean.
REASONS: dict[str, Any] = {
    "condition_unmet": "Its condition was not met.",
    "dependency_skipped": "A step before it was skipped.",
    "handler_failed": "It failed, and the flow goes on without it.",
    "operator": "An operator ended it.",
}


def fitted(text: str, length: int) -> str:
    """Return text cut to a width: wide characters, as Chinese ones, count twice."""
    width = 0
    for place, character in enumerate(text):
        width += 2 if east_asian_width(character) in "WF" else 1
        if width > length:
            return text[: max(1, place - 1)].rstrip() + "…"
    return text
