"""What is wrong with a document that can be read: unknown names, unreachable joins, variables that nobody set."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django_workflow.contrib.orquesta.document import Document, Task, Transition
from django_workflow.contrib.orquesta.expressions import texts
from django_workflow.contrib.orquesta.inline import Pairs
from django_workflow.contrib.orquesta.reading import Report
from django_workflow.definition import graph
from django_workflow.definition.names import COMMANDS, RETRY
from django_workflow.definition.problems import Path


def check(document: Document, knows_action: Callable[[str], bool], report: Report) -> None:
    """Report all problems of a document."""
    for path, text in _texts(document):
        for problem in texts.problems(text):
            report(path, problem)
    for task in document.tasks.values():
        _check_action(task, knows_action, report)
        _check_targets(document, task, report)
    _check_beginning(document, report)
    _check_joins(document.reachable(), report)
    _Variables(document, report).check()


def _texts(document: Document) -> Iterator[tuple[Path, str]]:
    """Yield every text in which there may be expressions, with its place."""
    for key, pairs in (("input", document.inputs), ("vars", document.vars), ("output", document.output)):
        yield from _texts_of_pairs((key,), pairs)
    for name, task in document.tasks.items():
        path: Path = ("tasks", name)
        for part, value in _values(task):
            yield from (((*path, *part), text) for text in texts_within(value))
        for place, transition in enumerate(task.next):
            way = (*path, "next", place)
            if transition.when is not None:
                yield (*way, "when"), transition.when
            yield from _texts_of_pairs((*way, "publish"), transition.publish)


def _texts_of_pairs(path: Path, pairs: Pairs) -> Iterator[tuple[Path, str]]:
    for place, (_, value) in enumerate(pairs):
        yield from (((*path, place), text) for text in texts_within(value))


def _values(task: Task) -> Iterator[tuple[Path, Any]]:
    """Yield the parts of a task that may hold expressions, without what follows it."""
    yield ("delay",), task.delay
    if task.items is not None:
        yield ("with",), task.items.expression
        yield ("with", "concurrency"), task.items.concurrency
    yield ("action",), task.action
    yield (task.input_key,), task.input
    if task.retry is not None:
        yield ("retry", "when"), task.retry.when
        yield ("retry", "count"), task.retry.count
        yield ("retry", "delay"), task.retry.delay


def texts_within(value: Any) -> Iterator[str]:
    """Yield all texts of a JSON value, also those that name its parts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from texts_within(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_within(item)


def _check_action(task: Task, knows_action: Callable[[str], bool], report: Report) -> None:
    if task.action is None or texts.is_expression(task.action):
        return
    if not knows_action(task.action):
        report(("tasks", task.name, "action"), f"there is no action {task.action!r} in actions")


def _check_targets(document: Document, task: Task, report: Report) -> None:
    for place, transition in enumerate(task.next):
        for target in transition.do:
            if target not in document.tasks and target not in COMMANDS:
                known = ", ".join(sorted(COMMANDS))
                report(("tasks", task.name, "next", place, "do"), f"{target!r} is no task and none of {known}")
    ways = [place for place, transition in enumerate(task.next) if RETRY in transition.do]
    for place in ways[1:]:
        report(("tasks", task.name, "next", place, "do"), "a task has the command retry once")


def _check_beginning(document: Document, report: Report) -> None:
    if document.tasks and not document.entry():
        report(
            ("tasks",), "there is no task to begin with, for each one follows a task; add one that leads to the loop"
        )


def _check_joins(document: Document, report: Report) -> None:
    predecessors = document.predecessors()
    splits = _splits(document)
    for name, task in document.tasks.items():
        sources = predecessors[name]
        if isinstance(task.join, int) and 0 < len(sources) < task.join:
            report(("tasks", name, "join"), f"join: {task.join}, but only {len(sources)} tasks lead to it")
        if task.join is not None and any(splits[source] != splits[name] for source in sources):
            begun = ", ".join(repr(split) for split in document.tasks if split in splits[name])
            report(
                ("tasks", name, "join"),
                f"it joins what runs once with what runs several times behind {begun}, so nobody knows what to wait "
                "for; join the several runs first",
            )


def _splits(document: Document) -> dict[str, set[str]]:
    """Return the tasks on the ways to each task that have several ways to them and no join, itself included."""
    successors = {name: task.targets for name, task in document.tasks.items()}
    ways = Counter(target for task in document.tasks.values() for item in task.next for target in item.do)
    cycles = graph.components(
        {name: [to for to in targets if to in successors] for name, targets in successors.items()}
    )
    members: dict[int, list[str]] = {}
    for name, number in cycles.items():
        members.setdefault(number, []).append(name)
    found: dict[str, set[str]] = {name: set() for name in document.tasks}
    for name in document.tasks:
        in_cycle = len(members[cycles[name]]) > 1 or name in successors[name]
        if document.tasks[name].join is None and ways[name] > 1 and not in_cycle:
            for reached in graph.reachable(successors, [name]) & set(found):
                found[reached].add(name)
    return found


@dataclass
class _Known:
    """The variables known at a task: those that every way to it has set, and those that any has."""

    everywhere: set[str]
    somewhere: set[str]

    def copy(self) -> _Known:
        """Return a copy."""
        return _Known(set(self.everywhere), set(self.somewhere))

    def meet(self, other: _Known) -> None:
        """Count another way."""
        self.everywhere &= other.everywhere
        self.somewhere |= other.somewhere

    def join(self, other: _Known) -> None:
        """Count another branch that is joined."""
        self.everywhere |= other.somewhere
        self.somewhere |= other.somewhere


class _Variables:
    """Follows the ways through a document to find where a variable is read that nobody has set.

    Breadth first, as the original does: a task that was looked at is not looked at again, so that what is legal
    there is legal here. At a join all that its branches set counts. Ways that meet before a task is looked at are
    one from there on: each by itself there would be twice as many behind every such place.
    """

    def __init__(self, document: Document, report: Report) -> None:
        self.document = document
        self.report = report
        self.told: set[tuple[Path, str]] = set()

    def check(self) -> None:
        begin = self._follow(("input",), self.document.inputs, set())
        begin = self._follow(("vars",), self.document.vars, begin)
        everything = self._walk(begin)
        self._follow(("output",), self.document.output, everything)

    def _walk(self, begin: set[str]) -> set[str]:
        everything = set(begin)
        examined: set[str] = set()
        known = {name: _Known(set(begin), set(begin)) for name in sorted(self.document.entry())}
        pending = deque(known)
        while pending:
            name = pending.popleft()
            examined.add(name)
            here = known.pop(name)
            task = self.document.tasks[name]
            self._examine_task(task, here.everywhere)
            for place, transition in enumerate(task.next):
                everywhere = self._examine_transition(name, place, transition, here.everywhere)
                behind = _Known(everywhere, everywhere | here.somewhere)
                everything |= everywhere
                for target in transition.do:
                    following = self.document.tasks.get(target)
                    if following is None or target in examined:
                        continue
                    if target not in known:
                        pending.append(target)
                        known[target] = _Known(set(), set()) if following.join is not None else behind.copy()
                    if following.join is not None:
                        known[target].join(behind)
                    else:
                        known[target].meet(behind)
        return everything

    def _examine_task(self, task: Task, known: set[str]) -> None:
        for key, value in _values(task):
            self._read(("tasks", task.name, *key), value, known)

    def _examine_transition(self, name: str, place: int, transition: Transition, known: set[str]) -> set[str]:
        path: Path = ("tasks", name, "next", place)
        self._read((*path, "when"), transition.when, known)
        return self._follow((*path, "publish"), transition.publish, known)

    def _follow(self, path: Path, pairs: Pairs, known: set[str]) -> set[str]:
        """Read values in order; each name is known from then on."""
        known = set(known)
        for place, (name, value) in enumerate(pairs):
            self._read((*path, place), value, known)
            known.add(name)
        return known

    def _read(self, path: Path, value: Any, known: set[str]) -> None:
        for text in texts_within(value):
            for name in sorted(texts.variables(text) - known):
                if (path, name) in self.told:
                    continue
                self.told.add((path, name))
                if name.startswith("__"):
                    self.report(path, f"variable {name!r}: names that begin with two underscores cannot be read")
                else:
                    self.report(path, f"variable {name!r} is read here, but no way that leads here has set it")
