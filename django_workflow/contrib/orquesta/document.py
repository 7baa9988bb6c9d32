"""What an Orquesta document says, before it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django_workflow.contrib.orquesta.inline import Pairs
from django_workflow.definition import graph


@dataclass(frozen=True)
class Transition:
    """What follows a task: where `when` holds, `publish` is done and `do` is reached."""

    when: str | None = None
    publish: Pairs = ()
    do: tuple[str, ...] = ()


@dataclass(frozen=True)
class Items:
    """What a task is done with, one by one; `names` are those of an item's parts."""

    expression: str
    names: tuple[str, ...] = ()
    concurrency: int | str | None = None


@dataclass(frozen=True)
class Retry:
    """When, how often and how soon a task is repeated."""

    count: int | str
    when: str | None = None
    delay: int | str | None = None


@dataclass(frozen=True)
class Task:
    """A task; without an action it does nothing. `input_key` is where its input stands."""

    name: str
    action: str | None = None
    input: Mapping[str, Any] | str = field(default_factory=dict)
    input_key: str = "input"
    delay: int | str | None = None
    join: int | str | None = None
    items: Items | None = None
    retry: Retry | None = None
    next: tuple[Transition, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Where it leads, in order, each once."""
        return tuple(dict.fromkeys(target for item in self.next for target in item.do))


@dataclass(frozen=True)
class Document:
    """A whole document."""

    tasks: Mapping[str, Task]
    description: str = ""
    inputs: Pairs = ()
    vars: Pairs = ()
    output: Pairs = ()

    def predecessors(self) -> dict[str, tuple[str, ...]]:
        """Return the tasks that lead to each task, in order."""
        table: dict[str, dict[str, None]] = {name: {} for name in self.tasks}
        for task in self.tasks.values():
            for target in task.targets:
                if target in table:
                    table[target][task.name] = None
        return {name: tuple(sources) for name, sources in table.items()}

    def entry(self) -> tuple[str, ...]:
        """Return the tasks that no task leads to, not even themselves."""
        return tuple(name for name, sources in self.predecessors().items() if not sources)

    def reachable(self) -> Document:
        """Return the document without tasks that no run of it ever comes to."""
        found = graph.reachable({name: task.targets for name, task in self.tasks.items()}, self.entry())
        return replace(self, tasks={name: task for name, task in self.tasks.items() if name in found})
