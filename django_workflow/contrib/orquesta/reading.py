"""Reading the text of a document: its form, part by part, with the line of everything that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any, Final

from django_workflow.contrib.orquesta import inline
from django_workflow.contrib.orquesta.document import Document, Items, Retry, Task, Transition
from django_workflow.contrib.orquesta.expressions import texts
from django_workflow.contrib.orquesta.inline import Pairs
from django_workflow.definition.documents import nodes, yaml_text
from django_workflow.definition.elements import LONGEST_TIME
from django_workflow.definition.names import COMMANDS, CONTINUE
from django_workflow.definition.problems import Path, Problem

VERSIONS: Final = (1, 1.0, "1.0")
DOCUMENT_KEYS: Final = ("version", "name", "description", "tags", "input", "vars", "tasks", "output")
TASK_KEYS: Final = ("delay", "join", "with", "action", "input", "retry", "next")
TRANSITION_KEYS: Final = ("when", "publish", "do")
ITEMS_KEYS: Final = ("items", "concurrency")
RETRY_KEYS: Final = ("when", "count", "delay")
MAX_NAME: Final = 128
_TASK_NAME: Final = re.compile(r"\w+\Z")
_NAMED_ITEMS: Final = re.compile(r"\s*(\w+(?:\s*,\s*\w+)*)\s+in\s+(.*)\Z", re.DOTALL)

Report = Callable[[Path, str], None]


class Source:
    """The text of a document, and what is wrong with it."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self.root: nodes.Node | None = None
        problem = nodes.unreadable(text)
        if problem is None:
            self._compose(text)
        else:
            self.problems.append(problem)

    def _compose(self, text: str) -> None:
        builder = nodes.Builder()
        try:
            yaml_text.compose(text, builder)
        except nodes.Broken as error:
            builder.problems.append(error.problem)
        else:
            self.root = builder.root
        self.problems += builder.problems

    def sorted_problems(self) -> list[Problem]:
        """Return all problems from the first line to the last."""
        return sorted(self.problems, key=attrgetter("position"))

    def report(self, path: Path, message: str) -> None:
        """Add a problem at a part of the document."""
        assert self.root is not None
        node = self.root.at(path)
        problem = Problem("invalid", path, message, place=place_of(path), line=node.line, column=node.column)
        self.problems.append(problem)


def place_of(path: Path) -> str:
    """Name a part of a document: its task, and the transition."""
    if path[:1] != ("tasks",) or len(path) == 1:
        return str(path[0]) if path else "document"
    task = f"task {path[1]!r}"
    if len(path) > 3 and path[2] == "next" and isinstance(path[3], int):
        return f"{task}: next, transition {path[3] + 1}"
    return f"{task}: {path[2]}" if len(path) > 2 else task


def read_document(source: Source) -> Document | None:
    """Return what a text says as far as it can be read; what cannot is reported."""
    if source.root is None:
        if not source.problems:
            source.problems.append(nodes.unreadable_at("it is empty; it needs tasks", 1))
        return None
    data = source.root.plain()
    report = source.report
    if not isinstance(data, dict):
        report((), "it must be an object with tasks")
        return None
    _check_keys(data, DOCUMENT_KEYS, (), report)
    if "version" in data and (isinstance(data["version"], bool) or data["version"] not in VERSIONS):
        report(("version",), f"version {data['version']!r} is none that can be read; there is 1.0")
    description = data.get("description", "")
    if not isinstance(description, str):
        report(("description",), f"it must be text, not {_kind(description)}")
        description = ""
    return Document(
        tasks=_tasks(data, report),
        description=description,
        inputs=_pairs(data, ("input",), report, names_alone=True),
        vars=_pairs(data, ("vars",), report),
        output=_pairs(data, ("output",), report),
    )


def _tasks(data: dict[str, Any], report: Report) -> dict[str, Task]:
    if "tasks" not in data:
        report((), "there are no tasks")
        return {}
    tasks = data["tasks"]
    if not isinstance(tasks, dict) or not tasks:
        report(("tasks",), "tasks must be an object with at least one task by name")
        return {}
    return {name: _task(name, written, report) for name, written in tasks.items()}


def _task(name: str, written: Any, report: Report) -> Task:
    path: Path = ("tasks", name)
    if _TASK_NAME.match(name) is None or len(name) > MAX_NAME:
        report(path, f"a task's name is made of letters, digits and underscores, at most {MAX_NAME}")
    if name in COMMANDS:
        report(path, "this name is a command's, and no task may have it")
    if not isinstance(written, dict):
        report(path, f"a task must be an object, not {_kind(written)}")
        return Task(name)
    _check_keys(written, TASK_KEYS, path, report)
    action, given = _action(written, path, report)
    if "with" in written and action is None and "action" not in written:
        report(path, "a task with items needs an action")
    return Task(
        name,
        action=action,
        input=_input(written, path, report) if not given else dict(given),
        input_key="action" if given else "input",
        delay=_number(written, (*path, "delay"), report),
        join=_join(written, path, report),
        items=_items(written, path, report),
        retry=_retry(written, path, report),
        next=_transitions(written, path, report),
    )


def _action(written: dict[str, Any], path: Path, report: Report) -> tuple[str | None, Pairs]:
    if "action" not in written:
        return None, ()
    path = (*path, "action")
    text = _text(written["action"], path, report)
    if text is None:
        return None, ()
    name, rest = inline.split_action(text.strip())
    return name, _parameters(rest, path, report)


def _parameters(text: str, path: Path, report: Report) -> Pairs:
    try:
        return inline.parameters(text)
    except ValueError as error:
        report(path, str(error))
        return ()


def _input(written: dict[str, Any], path: Path, report: Report) -> dict[str, Any] | str:
    if "input" not in written:
        return {}
    value, path = written["input"], (*path, "input")
    if isinstance(value, dict) and value:
        return value
    if isinstance(value, str) and texts.is_expression(value):
        return value
    report(path, f"it must be values by name, or an expression that gives them, not {_kind(value)}")
    return {}


def _join(written: dict[str, Any], path: Path, report: Report) -> int | str | None:
    value: Any = written.get("join")
    if "join" not in written or value == "all" or (_is_whole(value) and value >= 1):
        found: int | str | None = value
        return found
    report((*path, "join"), f"join must be all or a number of tasks from 1, not {value!r}")
    return None


def _items(written: dict[str, Any], path: Path, report: Report) -> Items | None:
    if "with" not in written:
        return None
    value, path = written["with"], (*path, "with")
    if isinstance(value, dict):
        _check_keys(value, ITEMS_KEYS, path, report)
        if "items" not in value:
            report(path, "it needs items")
            return None
        concurrency = _number(value, (*path, "concurrency"), report)
        value, path = value["items"], (*path, "items")
    else:
        concurrency = None
    text = _text(value, path, report)
    if text is None:
        return None
    named = _NAMED_ITEMS.match(text) if not text.lstrip().startswith(("<%", "{{")) else None
    names = tuple(re.split(r"\s*,\s*", named[1])) if named else ()
    expression = (named[2] if named else text).strip()
    if not _is_one_expression(expression):
        report(path, f"items are an expression, or names in an expression, such as x in <% ctx(xs) %>, not {text!r}")
        return None
    return Items(expression, names, concurrency)


def _retry(written: dict[str, Any], path: Path, report: Report) -> Retry | None:
    if "retry" not in written:
        return None
    value, path = written["retry"], (*path, "retry")
    if not isinstance(value, dict):
        report(path, f"it must be an object with a count, not {_kind(value)}")
        return None
    _check_keys(value, RETRY_KEYS, path, report)
    if "count" not in value:
        report(path, "it needs a count")
    return Retry(
        count=_number(value, (*path, "count"), report) or 0,
        when=_condition(value, path, report),
        delay=_number(value, (*path, "delay"), report),
    )


def _transitions(written: dict[str, Any], path: Path, report: Report) -> tuple[Transition, ...]:
    if "next" not in written:
        return ()
    value, path = written["next"], (*path, "next")
    if not isinstance(value, list):
        report(path, f"it must be a list of transitions, not {_kind(value)}")
        return ()
    found = []
    for place, item in enumerate(value):
        if isinstance(item, dict):
            found.append(_transition(item, (*path, place), report))
        else:
            report((*path, place), f"a transition must be an object, not {_kind(item)}")
    return tuple(found)


def _transition(written: dict[str, Any], path: Path, report: Report) -> Transition:
    _check_keys(written, TRANSITION_KEYS, path, report)
    publish: Pairs
    if isinstance(written.get("publish"), str):
        text = _text(written["publish"], (*path, "publish"), report)
        publish = _parameters(text, (*path, "publish"), report) if text else ()
    else:
        publish = _pairs(written, (*path, "publish"), report)
    return Transition(_condition(written, path, report), publish, _targets(written, path, report))


def _condition(written: dict[str, Any], path: Path, report: Report) -> str | None:
    if "when" not in written:
        return None
    path = (*path, "when")
    text = _text(written["when"], path, report)
    if text is None:
        return None
    text = text.strip()
    if not texts.problems(text) and not _is_one_expression(text):
        report(path, f"when must be one expression, such as <% succeeded() %>, not {text!r}")
        return None
    return text


def _targets(written: dict[str, Any], path: Path, report: Report) -> tuple[str, ...]:
    if "do" not in written:
        return (CONTINUE,)
    value, path = written["do"], (*path, "do")
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        report(path, f"do must name tasks or commands, as a list or with commas between, not {value!r}")
        return ()
    if isinstance(value, list) and len(set(names)) < len(names):
        report(path, "a task stands there twice")
    return tuple(dict.fromkeys(names))


def _pairs(data: Any, path: Path, report: Report, *, names_alone: bool = False) -> Pairs:
    """Return a list of names and values, each an object with one key; or a name alone, which has no value."""
    key = path[-1]
    if key not in data:
        return ()
    value = data[key]
    if not isinstance(value, list) or not value:
        report(path, f"it must be a list of values, each with its name, not {_kind(value)}")
        return ()
    found = []
    for place, item in enumerate(value):
        if names_alone and isinstance(item, str) and item:
            found.append((item, None))
        elif isinstance(item, dict) and len(item) == 1:
            found.append(next(iter(item.items())))
        else:
            report((*path, place), f"it must be one name with its value, not {_kind(item)}")
    if any(value.count(item) > 1 for item in value):
        report(path, "an entry stands there twice")
    return tuple(found)


def _number(written: dict[str, Any], path: Path, report: Report) -> int | str | None:
    """Return a whole number from 0 or one expression."""
    key = path[-1]
    if key not in written:
        return None
    value: Any = written[str(key)]
    if isinstance(value, str):
        value = value.strip()
    # what is wrong with an expression is told where all are checked
    if (_is_whole(value) and value >= 0) or (
        isinstance(value, str) and (_is_one_expression(value) or texts.problems(value))
    ):
        found: int | str = value
        longest = LONGEST_TIME.total_seconds()
        if key == "delay" and not isinstance(found, str) and found > longest:
            report(path, f"delay must be at most {longest:.0f}, which is a year, not {found}")
        return found
    report(path, f"{key} must be a whole number from 0 or one expression, not {value!r}")
    return None


def _text(value: Any, path: Path, report: Report) -> str | None:
    if isinstance(value, str) and value.strip():
        return value
    report(path, f"{path[-1]} must be text, not {_kind(value)}")
    return None


def _check_keys(written: dict[str, Any], known: Collection[str], path: Path, report: Report) -> None:
    for key in written:
        if key not in known:
            report((*path, key), f"there is no {key!r} here, only {', '.join(known)}")


def _is_one_expression(text: str) -> bool:
    return not texts.problems(text) and texts.is_one_expression(text)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if value in (None, "", [], {}) and not isinstance(value, bool | int):
        return "nothing"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds[type(value)]
