"""From a text to a definition: all problems at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import PurePath
from typing import Any, Final

from django_workflow.definition.documents import content, json_text, nodes, schema, yaml_text
from django_workflow.definition.documents.nodes import Broken, Builder, Node
from django_workflow.definition.drafts import FlowDraft
from django_workflow.definition.problems import Code, Path, Problem, Report, place_of, problems_of
from django_workflow.definition.spec import FlowSpec
from django_workflow.definition.written.steps import FlowOptions
from django_workflow.exceptions import DefinitionError, InvalidArgument

SUFFIXES: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
#: What is only known of a flow that could be read whole.
OF_THE_WHOLE: Final[frozenset[Code]] = frozenset({"no_entry", "join_too_large", "cycle"})
_position = attrgetter("position")
#: Most problems listed at once.
MOST_PROBLEMS: Final = 200
EMPTY: Final = FlowDraft("", FlowOptions(), {}, ())


@dataclass(frozen=True)
class Document:
    """A flow as a text says it.

    draft: what could be read. problems: what could not, in the order of lines.
    """

    draft: FlowDraft
    problems: tuple[Problem, ...]
    root: Node | None
    spoilt: tuple[Path, ...] = ()

    @property
    def slug(self) -> str:
        """The flow's name; empty where none can be read."""
        return self.draft.slug if isinstance(self.draft.slug, str) else ""

    def compile(self, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> FlowSpec:
        """Return the definition, with the code that is registered here.

        overrides: options of its steps to replace, as those of the stored flow.
        Raises `DefinitionError` with everything that is wrong with the text, the flow and its handlers.
        """
        problems = list(self.problems)
        try:
            compiled = self.draft.compile(overrides=overrides) if self.root is not None else None
        except DefinitionError as error:
            problems += self._news(problems_of(error))
            compiled = None
        if problems or compiled is None:
            raise DefinitionError(first_problems(problems), flow=self.slug or None)
        return compiled

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return problems of the flow with their lines in the text."""
        return [self._located(problem) for problem in problems]

    def _news(self, problems: Iterable[Problem]) -> list[Problem]:
        """Leave out what only follows from what could not be read."""
        spoilt = frozenset(self.spoilt)
        around = {item[:length] for item in spoilt for length in range(1, len(item)) if not _is_whole(item[:length])}
        return [
            self._located(problem)
            for problem in problems
            if not (spoilt and problem.code in OF_THE_WHOLE)
            and problem.path not in around
            and not any(problem.path[:length] in spoilt for length in range(len(problem.path) + 1))
        ]

    def _located(self, problem: Problem) -> Problem:
        node = self.root.at(problem.path) if self.root is not None else None
        line, column = (node.line, node.column) if node is not None else (1, 1)
        return problem.at(line, column, place=None if problem.step is not None else place_of(problem.path))


def read(text: str | bytes, format: str | None = None) -> Document:
    """Read a document, without asking whether its handlers are registered.

    format: "yaml" or "json"; None finds it out.
    Raises `DefinitionError` with every problem of its structure.
    """
    document = parse(text, format)
    if document.problems:
        raise DefinitionError(first_problems(document.problems), flow=document.slug or None)
    return document


def parse(text: str | bytes, format: str | None = None) -> Document:
    """Read what can be read; the document says what is wrong. YAML needs PyYAML, else `NotSupported`."""
    if not isinstance(text, str | bytes):
        raise InvalidArgument(f"a document is text, not {schema.shown(text)}")
    if format not in (None, "yaml", "json"):
        raise InvalidArgument(f'format= is "yaml", "json" or None, not {schema.shown(format)}')
    builder = Builder()
    try:
        _compose(_decoded(text), format, builder)
    except Broken as broken:
        return Document(EMPTY, (*builder.problems, broken.problem), None)
    root = builder.root
    if root is None or root.value is None:
        return Document(EMPTY, (nodes.unreadable_at("it is empty; a flow begins with slug: name", 1),), None)
    if not isinstance(root.value, dict):
        message = f"a document is an object with slug and steps, not {schema.shown(root.plain())}"
        return Document(EMPTY, (nodes.unreadable_at(message, root.line, root.column),), None)
    return _interpreted(root, builder.problems)


def _interpreted(root: Node, problems: list[Problem]) -> Document:
    """Make a draft of what has the right structure."""
    data = root.plain()
    found = schema.problems(data)
    for problem in found:
        _take_out(data, problem.path)
    draft = content.Reader(Report(found)).flow(data)
    located = [problem.at(node.line, node.column) for problem in found for node in [root.at(problem.path)]]
    spoilt = tuple(problem.path for problem in found)
    return Document(draft, tuple(sorted([*problems, *located], key=_position)), root, spoilt)


def format_of(path: str | PurePath) -> str | None:
    """Return the format that the name of a file says, if it does."""
    return SUFFIXES.get(PurePath(path).suffix.lower())


def _decoded(given: str | bytes) -> str:
    """Return the text without what marks its encoding; raises `Broken` for what is none."""
    try:
        text = given if isinstance(given, str) else given.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"it is not UTF-8: byte 0x{error.object[error.start]:02x}; save it in this encoding"
        raise Broken(nodes.unreadable_at(message, line)) from None
    text = text.removeprefix("\ufeff")
    problem = nodes.unreadable(text)
    if problem is not None:
        raise Broken(problem)
    return text


def _compose(text: str, format: str | None, builder: Builder) -> None:
    if not text.strip():
        return
    is_json = format == "json" if format is not None else text.lstrip()[:1] in ("{", "[")
    (json_text if is_json else yaml_text).compose(text, builder)


def _take_out(data: Any, path: Path) -> None:
    """Take what cannot be read out of a document; a step or a transition stays as one that says nothing."""
    if path and path[-1] == "callable":
        path = path[:-1]
    holder = data
    for part in path[:-1]:
        try:
            holder = holder[part]
        except (KeyError, IndexError, TypeError):
            return
    key = path[-1] if path else None
    if isinstance(holder, list) and isinstance(key, int):
        holder[key] = "noop" if len(path) == 4 else ""
    elif len(path) == 2 and path[0] == "steps" and isinstance(holder, dict):
        holder[key] = {}
    elif key in ("to", "otherwise") and isinstance(holder, dict) and key in holder:
        holder[key] = "noop"
    elif isinstance(holder, dict):
        holder.pop(key, None)


def _is_whole(path: Path) -> bool:
    """Say whether a path leads to a whole step or transition."""
    return path[0] == "steps" and (len(path) == 2 or (len(path) == 4 and path[2] == "next"))


def first_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order of lines, as many as somebody would read."""
    found = sorted(problems, key=_position)
    if len(found) > MOST_PROBLEMS:
        more = len(found) - MOST_PROBLEMS
        message = f"{more:,} more problems from here on are not told"
        last = Problem(
            "too_many", (), message, place="document", line=max(1, found[MOST_PROBLEMS].position[0]), column=1
        )
        found = [*found[:MOST_PROBLEMS], last]
    return found
