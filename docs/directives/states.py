"""`{workflow-states} run|step_run|task`: a status machine as a picture and a table, from the tables of moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives

from directives import text
from django_workflow import statuses


@dataclass(frozen=True)
class Machine:
    """A status machine: all statuses in their order, and the legal moves."""

    title: str
    statuses: Sequence[str]
    moves: Mapping[str, frozenset[str]]

    @property
    def open(self) -> list[str]:
        """Statuses that may be left."""
        return [name for name in self.statuses if name in self.moves]

    @property
    def terminal(self) -> list[str]:
        """Statuses that are for ever."""
        return [name for name in self.statuses if name not in self.moves]


MACHINES = {
    "run": Machine("Statuses of a run", statuses.RUN_STATUSES, statuses.RUN_MOVES),
    "step_run": Machine("Statuses of a step run", statuses.STEP_RUN_STATUSES, statuses.STEP_RUN_MOVES),
    "task": Machine("Statuses of a task", statuses.TASK_STATUSES, statuses.TASK_MOVES),
}


class States(Directive):
    """The picture for HTML, the table for all."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        machine = MACHINES[directives.choice(self.arguments[0], tuple(MACHINES))]
        rows = [(f"`{name}`", _listed(machine, name)) for name in machine.open]
        rows += [(f"`{name}`", "nothing: terminal") for name in machine.terminal]
        picture = nodes.raw("", f'<div class="states">{picture_of(machine)}</div>', format="html")
        return [picture, text.table(("From", "To"), rows)]


def _listed(machine: Machine, name: str) -> str:
    return ", ".join(f"`{item}`" for item in machine.statuses if item in machine.moves[name])


WIDTH, HEIGHT, GAP, BETWEEN = 112, 36, 24, 10
TOP, LEFT = 46, 132


def picture_of(machine: Machine) -> str:
    """Return the machine as SVG: open statuses in a column, arcs between them, how each may end to the right."""
    ends_at = LEFT + WIDTH + 72
    width = ends_at + len(machine.terminal) * (WIDTH + BETWEEN)
    height = TOP + len(machine.open) * (HEIGHT + GAP) - GAP + 12
    label = f"{escape(machine.title)}; the table below says the same"
    size = f'viewBox="0 0 {width} {height}" style="max-width: {width}px"'
    return "".join(
        [
            f'<svg class="states" role="img" {size} aria-label="{label}">',
            f"<title>{escape(machine.title)}</title>",
            f'<text class="head" x="{LEFT + WIDTH / 2}" y="22">open</text>',
            f'<text class="head" x="{(ends_at + width - BETWEEN) / 2}" y="22">may end as one of</text>',
            *_arcs(machine),
            *_rows(machine, ends_at),
            "</svg>",
        ]
    )


def _rows(machine: Machine, ends_at: int) -> Iterator[str]:
    for row, name in enumerate(machine.open):
        y = _y(row)
        reachable = [place for place, end in enumerate(machine.terminal) if end in machine.moves[name]]
        if reachable:
            yield _edge(f"M{LEFT + WIDTH},{y} H{ends_at + reachable[0] * (WIDTH + BETWEEN) - 8}")
            yield _tip(ends_at + reachable[0] * (WIDTH + BETWEEN) - 2, y)
        yield _box(LEFT, y, name, "open")
        for place in reachable:
            end = machine.terminal[place]
            yield _box(ends_at + place * (WIDTH + BETWEEN), y, end, end)


def _arcs(machine: Machine) -> Iterator[str]:
    """Draw the moves among open statuses, nested: each end of an arc has a port of its own."""
    pairs = [
        (upper, lower)
        for upper, first in enumerate(machine.open)
        for lower, second in enumerate(machine.open)
        if upper < lower and (second in machine.moves[first] or first in machine.moves[second])
    ]
    for upper, lower in pairs:
        start, end = _port(pairs, upper, lower), _port(pairs, lower, upper)
        is_down = machine.open[lower] in machine.moves[machine.open[upper]]
        is_up = machine.open[upper] in machine.moves[machine.open[lower]]
        bulge = LEFT - 10 - 36 * (lower - upper)
        first, last = LEFT - 6 * is_up, LEFT - 6 * is_down
        yield _edge(f"M{first},{start} C{bulge},{start} {bulge},{end} {last},{end}")
        if is_down:
            yield _tip(LEFT - 1, end)
        if is_up:
            yield _tip(LEFT - 1, start)


def _port(pairs: Sequence[tuple[int, int]], row: int, partner: int) -> float:
    """Return where an arc meets its box: those from above first, the nearest on top, then those to below."""
    above = sorted((upper for upper, lower in pairs if lower == row), reverse=True)
    below = sorted((lower for upper, lower in pairs if upper == row), reverse=True)
    ports = [*above, *below]
    return _y(row) + (ports.index(partner) - (len(ports) - 1) / 2) * 11


def _y(row: int) -> float:
    return TOP + row * (HEIGHT + GAP) + HEIGHT / 2


def _edge(path: str) -> str:
    return f'<path class="edge" d="{path}"/>'


def _tip(x: float, y: float) -> str:
    return f'<path class="tip" d="M{x},{y} l-8,-4 v8 z"/>'


def _box(x: float, y: float, name: str, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
        f'<text x="{x + WIDTH / 2}" y="{y + 5}">{escape(name)}</text>'
    )
