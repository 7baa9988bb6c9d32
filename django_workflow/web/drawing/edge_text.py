"""What leads from a step to others, in words: outcomes, conditions, delays, joins and commands. Asks no database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django_workflow.definition import graph
from django_workflow.definition.elements import DEPENDENCY_OUTCOMES, TransitionSpec
from django_workflow.definition.names import COMMANDS, CONTINUE, FAIL, NOOP, RETRY
from django_workflow.definition.spec import FlowSpec
from django_workflow.display import cut, exact

#: Characters of the label of an edge, and of the mark of a command.
LABEL_LENGTH: Final = 26
MARK_LENGTH: Final = 28
#: What each command means for who reads it.
COMMAND_WORDS: Final = {
    NOOP: "the branch ends",
    CONTINUE: "the branch ends with this outcome",
    RETRY: "the step runs again",
    FAIL: "the run fails",
}


@dataclass(frozen=True, slots=True)
class Way:
    """An edge: all transitions that join the same two steps. label: cut to fit; text: whole.

    repeats: a run may take it more than once.
    """

    source: str
    to: str
    label: str
    text: str
    repeats: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """A command that a step may lead to, with its condition. label: cut to fit; text: whole."""

    command: str
    label: str
    text: str


def ways_of(spec: FlowSpec) -> list[Way]:
    """Return the edges of a flow, each once, in declared order."""
    joined: dict[tuple[str, str], dict[TransitionSpec, None]] = {}
    for edge in spec.edges:
        joined.setdefault((edge.source, edge.to), {})[edge.transition] = None
    repeated = graph.reachable(spec.successors, [*spec.repeating, *spec.splits])
    return [
        Way(source, to, *_labels(found, LABEL_LENGTH), repeats=source in repeated or len(found) > 1)
        for (source, to), found in joined.items()
    ]


def marks_of(spec: FlowSpec, step: str) -> list[Mark]:
    """Return the commands that a step may lead to, in declared order."""
    found = []
    for item in spec.outbound[step]:
        for command in item.to:
            if command in COMMANDS:
                condition = said(item)
                told = f"{command}: {condition}" if condition else command
                text = f"{COMMAND_WORDS[command]}{f', {condition}' if condition else ''}"
                found.append(Mark(command, cut(told, MARK_LENGTH), text))
    return found


def _labels(items: Iterable[TransitionSpec], length: int) -> tuple[str, str]:
    texts = [text for item in items if (text := said(item))]
    if not texts:
        return "", ""
    more = f" +{len(texts) - 1}" if len(texts) > 1 else ""
    return cut(texts[0], length - len(more)) + more, "; or ".join(texts)


def said(item: TransitionSpec) -> str:
    """Return when a transition fires; "" for the usual one."""
    parts = []
    if item.on not in (DEPENDENCY_OUTCOMES, ("succeeded",)):
        parts.append("always" if len(item.on) > 2 else f"on {' or '.join(item.on)}")
    if item.when is not None:
        parts.append(f"if {item.when}")
    if item.is_otherwise:
        parts.append("otherwise")
    if item.delay:
        parts.append(f"after {waited(item.delay)}")
    return ", ".join(parts)


def waited(delay: float | str) -> str:
    """Return a delay in words: a time, or the expression that gives its seconds."""
    return f"{delay} seconds" if isinstance(delay, str) else exact(delay)


def join_of(spec: FlowSpec, step: str) -> str:
    """Return how many of its predecessors a join waits for; "" for other steps."""
    if not spec.is_join(step):
        return ""
    size, count = spec.join_size(step), len(spec.predecessors[step])
    return "all" if size == count else f"{size} of {count}"


def named_entries(spec: FlowSpec) -> frozenset[str]:
    """Return where the flow begins, if its author named it; nothing where the edges tell."""
    without_sources = {name for name, sources in spec.predecessors.items() if not set(sources) - {name}}
    return frozenset(spec.entry) if set(spec.entry) != without_sources else frozenset()
